from dataclasses import replace
from functools import partial

from undertow.demonstration import digits_cnn, showing


def test_a_network_of_its_own_is_examined_mended_and_compared(run, tmp_path, monkeypatch):
    shorter = replace(digits_cnn.training(), steps=25)
    monkeypatch.setattr(digits_cnn, "training", lambda: shorter)
    monkeypatch.setattr(showing, "Demonstration", partial(showing.Demonstration, levels="C"))
    told = run("demo", "--out", tmp_path / "demo", "--budget", "10m").output
    assert "layers of sigmoid lose the gradient" in told
    assert "This training was repaired." in told
    for line in told.splitlines():
        if line.strip().endswith("step by step"):
            assert (tmp_path / "demo" / line.split()[0]).is_file()
    assert run("examine", f"{tmp_path / 'demo' / 'digits_cnn.py'}:training").exit_code == 0


def test_a_budget_that_is_none_is_refused_at_once(refusal, tmp_path):
    assert "write how long the doctor may take" in refusal("demo", "--budget", "soon", "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()

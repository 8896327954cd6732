from dataclasses import replace
from functools import partial

from undertow.demonstration import digits_cnn, showing


def test_a_network_of_its_own_is_examined_and_can_be_examined_again(run, tmp_path, monkeypatch):
    """Without a remedy that may be tried, which takes long; those are tried in demonstration/test_showing.py."""
    shorter = replace(digits_cnn.training(), steps=10)
    monkeypatch.setattr(digits_cnn, "training", lambda: shorter)
    monkeypatch.setattr(showing, "Demonstration", partial(showing.Demonstration, levels=""))
    told = run("demo", "--out", tmp_path / "demo", "--budget", "10m").output
    assert "layers of sigmoid lose the gradient" in told
    for line in told.splitlines():
        if ".html" in line:
            assert (tmp_path / "demo" / line.split()[0]).is_file()
    assert "UT301 error" in run("examine", f"{tmp_path / 'demo' / 'digits_cnn.py'}:training").output


def test_a_budget_that_is_none_is_refused_at_once(refusal, tmp_path):
    assert "write how long the doctor may take" in refusal("demo", "--budget", "soon", "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()

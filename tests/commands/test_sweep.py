"""`undertow sweep`: what it refuses, before any work."""

import pytest

from saying import said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gird]", "has no key 'gird': did you mean 'grid'?"),
        ("depth = ", "s.toml is not TOML"),
        ("[grid]\ndepht = [1]", "there is no setting 'depht': did you mean 'depth'?"),
        ('function = "none.py:f"', "there is no file"),
    ],
)
def test_the_command_refuses_a_bad_specification_in_a_line(tmp_path, monkeypatch, text, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(text)
    done = said("sweep", "s.toml")
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "s.sweep").exists()

"""Every notebook runs from its first cell to its last, and says what it promises."""

import re
from pathlib import Path

import pytest

from notebooks import cells, executed

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
SAYS = {
    "quickstart": "gone: ['UT301'",
    "my_model_wont_train": "This training was repaired.",
    "the_chapter": "hidden layer 4",
    "plan_a_deep_network": "NOTHING WRONG",
    "is_every_layer_trained": "set back to its start",
}


@pytest.mark.parametrize("name", SAYS)
@pytest.mark.filterwarnings("default")
def test_a_notebook_runs_and_says_what_it_promises(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SAYS[name] in "".join(out for _, out in executed(NOTEBOOKS / f"{name}.py"))


def test_every_notebook_is_listed_and_begins_with_its_title():
    listed = set(re.findall(r"\]\((\w+)\.md\)", (NOTEBOOKS / "index.md").read_text("utf-8")))
    assert listed == {path.stem for path in NOTEBOOKS.glob("*.py")} == set(SAYS)
    for name in SAYS:
        assert next(cells(NOTEBOOKS / f"{name}.py")).text.startswith("# ")

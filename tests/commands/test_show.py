import numpy as np
import pytest
from typer.testing import CliRunner

from commands.starting import started
from undertow.cli import app
from undertow.record import Run
from undertow.store import save_run


def test_show_prints_the_run_and_writes_its_page(runs, tmp_path):
    shown = started("show", runs / "first.undertow", "--out", tmp_path / "new" / "page.html", "--step", "7")
    assert shown.returncode == 0, shown.stderr
    for part in (
        "first.undertow",
        "learning speed",
        "update ratio",
        "at step 7, from the loss",
        "UT101",
        "page.html",
    ):
        assert part in shown.stdout
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "connect-src" not in page
    assert '"start":7' in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.undertow"], "nowhere.undertow"),
        (
            ["first.undertow", "--step", "60"],
            "step 60 was not measured in full: the nearest that was is 59, the last 59",
        ),
        (["first.undertow", "--out", "page.pdf"], "give --out a name that ends in .html"),
        (["broken.undertow"], "broken.undertow"),
    ],
)
def test_what_show_cannot_do_is_told_in_one_line(runs, refusal, arguments, says):
    assert says in refusal("show", runs / arguments[0], *arguments[1:])


def test_what_is_no_run_is_told_in_one_line(tmp_path, refusal):
    (tmp_path / "empty.undertow").touch()
    told = {name: refusal("show", tmp_path / name) for name in ("empty.undertow", "", "gone.undertow")}
    assert "is not an undertow Run: the file is empty" in told["empty.undertow"]
    assert "is a folder, and not a Run: give a file in it, or `undertow serve` all of it" in told[""]
    assert "the file does not exist" in told["gone.undertow"]


def test_causes_are_those_of_the_last_finite_step(small_run, tmp_path):
    run = Run.from_dict(small_run.to_dict())
    run.columns["grad_output"][50:] = np.nan
    save_run(run, tmp_path / "lost.undertow")
    words = ["show", str(tmp_path / "lost.undertow")]
    printed = [CliRunner().invoke(app, [*words, *more]).output for more in ([], ["--step", "55"])]
    assert "at step 49, from the loss:" in printed[0]
    assert "at step 55 the gradient is not finite" in printed[1]

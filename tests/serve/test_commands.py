import socket
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from undertow.cli import app, main
from undertow.record import Finding, Run, Severity
from undertow.render.run_page import told_rows
from undertow.render.summary import told
from undertow.render.terminal_run import summary
from undertow.store import save_run

HIDDEN = """
import sys
sys.modules[sys.argv.pop(1)] = None
sys.argv[0] = "undertow"
from undertow.cli import main
main()
"""


def undertow(*arguments, hiding=None):
    """The command as a user runs it, optionally where a package isn't installed."""
    start = ["-m", "undertow"] if hiding is None else ["-c", HIDDEN, hiding]
    return subprocess.run([sys.executable, *start, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_show_prints_the_run_and_writes_its_page(runs, tmp_path):
    shown = undertow("show", runs / "first.undertow", "--out", tmp_path / "new" / "page.html", "--step", "7")
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


@pytest.fixture
def refusal(monkeypatch, capsys):
    """What the command has to say in one line, given arguments it can't do anything with."""

    def asked(*arguments):
        monkeypatch.setattr(sys, "argv", ["undertow", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert said.count("\n") == 1
        return said

    return asked


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.undertow"], "nowhere.undertow"),
        (["first.undertow", "--step", "60"], "step 60 was not taped: the nearest that was is 59, the last 59"),
        (["first.undertow", "--out", "page.pdf"], "give --out a name that ends in .html"),
        (["broken.undertow"], "broken.undertow"),
    ],
)
def test_what_show_cannot_do_is_told_in_one_line(runs, refusal, arguments, says):
    assert says in refusal("show", runs / arguments[0], *arguments[1:])


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_the_extra_serve_says_what_to_install(tmp_path, package):
    served = undertow("serve", tmp_path, hiding=package)
    assert served.returncode == 2
    assert served.stderr == "undertow: undertow serve needs starlette and uvicorn: pip install 'undertow[serve]'\n"


def test_what_serve_cannot_do_is_told_in_one_line(tmp_path, refusal):
    assert "there is no folder" in refusal("serve", tmp_path / "nowhere")
    beyond = "0.0.0.0"  # noqa: S104
    assert "0.0.0.0 is reached from other machines: give --token" in refusal("serve", tmp_path, "--host", beyond)
    assert "the token could be guessed" in refusal("serve", tmp_path, "--host", beyond, "--token", "short")
    assert "ASCII" in refusal("serve", tmp_path, "--token", "sixteen letters and blanks")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"can't listen to 127.0.0.1, port {port}" in refusal("serve", tmp_path, "--port", port)


def test_no_control_character_of_a_name_reaches_the_terminal(small_run):
    run = Run.from_dict(small_run.to_dict())
    run.header["model"] = "\x1b]0;owned\x07[bold]net[/bold]\r"
    printed = summary(run, [], name="\x1b[31mname")
    assert not set(printed) & set("\x1b\x07\r")
    assert "[bold]net[/bold]" in printed


def test_what_is_no_run_is_told_in_one_line(tmp_path, refusal):
    (tmp_path / "empty.undertow").touch()
    told = {name: refusal("show", tmp_path / name) for name in ("empty.undertow", "", "gone.undertow")}
    assert "is not an undertow Run: the file is empty" in told["empty.undertow"]
    assert "is a folder, and not a Run: give a file in it, or `undertow serve` all of it" in told[""]
    assert "the file does not exist" in told["gone.undertow"]


def test_a_run_without_a_step_is_not_said_to_be_healthy():
    printed = summary(Run({"model": "Net"}, ()), [], name="first")
    assert "nothing wrong" not in printed
    assert "No step was recorded: there is nothing to judge yet." in printed
    assert "nothing wrong was found" in summary(Run({}, (), scalars={"loss": np.ones(1)}), [])


def test_causes_are_those_of_the_last_finite_step(small_run, tmp_path):
    run = Run.from_dict(small_run.to_dict())
    run.columns["grad_output"][50:] = np.nan
    save_run(run, tmp_path / "lost.undertow")
    words = ["show", str(tmp_path / "lost.undertow")]
    printed = [CliRunner().invoke(app, [*words, *more]).output for more in ([], ["--step", "55"])]
    assert "at step 49, from the loss:" in printed[0]
    assert "at step 55 the gradient is not finite" in printed[1]


def test_findings_are_told_with_their_steps(small_run):
    found = Finding("UT101", "vanishing", Severity.ERROR, (), "fc", "It fades.", began=12, ended=30)
    assert "from step 12 to step 30: It fades." in summary(small_run, [found])
    assert (told(found)["began"], told(found)["ended"]) == (12, 30)
    assert 12 in told_rows(small_run, [found])


def test_a_long_run_tells_causes_where_findings_began_and_evenly_besides():
    steps = np.arange(0, 50_000, 10, dtype=float)
    run = Run({}, (), steps={"step": steps})
    found = Finding("UT101", "vanishing", Severity.ERROR, (), "fc", "It fades.", began=33_333)
    rows = told_rows(run, [found], 17)
    assert len(rows) <= 122
    assert {0, 17, 3_333, 4_999} <= set(rows)

import os
import signal
import sys
import textwrap
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from filelock import FileLock
from typer.testing import CliRunner

import sample_models
import sample_runs
import undertow
from reading import chromium
from undertow.cli import app, main
from undertow.store import save_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


torch.set_num_threads(1)  # as the studies run; the tests themselves run side by side

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell, where tests of Ctrl-C would hang
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
SLOW = [line for line in HERE.joinpath("slow.txt").read_text("utf-8").splitlines() if not line.startswith("#")]


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for doctests only where there are some, and not once more in every file of tests."""
    found = yield
    if file_path.suffix != ".py" or ">>> " in file_path.read_text("utf-8"):
        return found
    return [one for one in found if type(one) is pytest.Module]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow.txt, and put their files first, the longest ahead."""
    files = dict.fromkeys(line.partition("::")[0] for line in SLOW)
    places, slow = {file: place for place, file in enumerate(files)}, set(SLOW)

    def file_of(item: pytest.Item) -> str:
        return item.nodeid.partition("::")[0].removeprefix("tests/")

    for item in items:
        name = item.nodeid.partition("[")[0].partition("::")[2]
        if file_of(item) in slow or f"{file_of(item)}::{name}" in slow:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: places.get(file_of(item), len(places)))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """A real headless Chromium; without one the test is skipped, or fails where everything must be tested."""
    try:
        with chromium(tmp_path_factory.mktemp("profile")) as started:
            yield started
    except LookupError as error:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(str(error))


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A function that lets only one of all test processes make a folder; the others wait for it and share it."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made_once(name: str, make: Callable[[Path], object]) -> Path:
        out = root / "once" / name
        out.parent.mkdir(exist_ok=True)
        with FileLock(f"{out}.lock"):
            if not Path(f"{out}.made").exists():
                make(out)
                Path(f"{out}.made").touch()
        return out

    return made_once


@pytest.fixture(scope="session")
def vanishing():
    return undertow.examine(*sample_models.sigmoid())


@pytest.fixture(scope="session")
def healthy():
    return undertow.examine(*sample_models.residual())


@pytest.fixture(scope="session")
def hostile_report():
    return undertow.examine(*sample_models.hostile())


@pytest.fixture(scope="session")
def thousand_report():
    return undertow.examine(*sample_models.thousand())


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder to work in, and a function that writes a file there."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(content))
        return path

    return write


@pytest.fixture(scope="session")
def small_run():
    return sample_runs.trained(60)


@pytest.fixture(scope="session")
def hostile_run():
    from torch import nn

    inner = sample_runs.sigmoid(2)
    net = nn.Sequential()
    for place, layer in enumerate(inner):
        net.add_module(f"{place}{sample_runs.HOSTILE}".replace(".", "․"), layer)
    run = sample_runs.trained(5, net)
    run.header["model"] = sample_runs.HOSTILE
    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory, small_run, hostile_run):
    """A folder with a Run, one in a folder of its own, a hostile one, and files that are none."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "deep").mkdir()
    save_run(small_run, folder / "first.undertow")
    save_run(small_run, folder / "deep" / "second & third.undertow")
    save_run(hostile_run, folder / f"{sample_runs.HOSTILE.replace('/', '')}.undertow")
    (folder / "broken.undertow").write_bytes(b"SQLite format 3\0 and then nothing of the kind" * 9)
    (folder / "notes.txt").write_text("not a run")
    return folder


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def fails(monkeypatch, capsys):
    """Run the command as the shell does, and hand back what it says on standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["undertow", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        return capsys.readouterr().err

    return call


@pytest.fixture
def refusal(fails):
    """What the command has to say in one line, given arguments it can't do anything with."""

    def asked(*arguments):
        said = fails(*map(str, arguments))
        assert said.count("\n") == 1
        return said

    return asked

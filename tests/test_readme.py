"""Every snippet of README, and every command that README and the pages show, runs as it stands."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import typer
from torch import nn
from torch.nn import functional

from undertow import lab
from undertow.cli import app
from undertow.lab.data import Dataset, DataSplit

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/howto/*.md"))]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


@pytest.fixture
def snippets(tmp_path, monkeypatch):
    """README's blocks of Python; what they take for granted is a reader's model, data and functions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab, "mnist", _small)
    return [text for kind, text in BLOCK.findall(README.read_text("utf-8")) if kind == "python"]


def _small():
    """A data set of MNIST's form with so few images that thirty epochs are short."""
    draw = torch.Generator().manual_seed(0)
    parts = [DataSplit(torch.rand(n, 784, generator=draw), torch.arange(n) % 10) for n in (40, 20, 20)]
    return Dataset("small", "", (28, 28), 10, *parts)


class _Accuracy(float):
    """A number, as one logs it, and a function of a model, as a Training takes it."""

    def __call__(self, _model):
        return self


def _taken_for_granted():
    torch.manual_seed(0)
    x, y = torch.randn(64, 8), torch.randint(2, (64,))

    def make_model():
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))

    model = make_model()
    loss = functional.cross_entropy(model(x), y)
    return {
        "undertow": __import__("undertow"), "torch": torch, "model": model, "x": x, "y": y, "make_model": make_model,
        "loss_function": functional.cross_entropy, "loader": [(x, y)], "batches": [(x, y)], "loss": loss,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "accuracy": _Accuracy(0.5),
    }  # fmt: skip


def test_the_first_example_prints_what_stands_beneath_it(capsys):
    text = README.read_text(encoding="utf-8")
    code, printed = re.search(r"```python\n(.*?)```\s+```\n(.*?)```", text, re.DOTALL).groups()
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  # it is what README tells to run
    # The numbers are one machine's: another's may round them otherwise.
    assert _words(printed) in _words(capsys.readouterr().out)


def test_every_snippet_of_python_runs(snippets, monkeypatch):
    space = _taken_for_granted()
    monkeypatch.setattr("undertow.doctoring.doctor", lambda *_, **__: "the doctor has tests of its own")
    assert len(snippets) > 6
    for code in snippets[1:]:  # the first has a test of its own
        exec(compile(code, "README.md", "exec"), space)  # noqa: S102  # it is what README tells to run
        if "watcher" in space:
            _train_on(space, space.pop("watcher"))


def _train_on(space, watcher):
    """Do what README leaves to its reader after `undertow.watch`: train."""
    with watcher:
        for _ in range(30):
            loss = functional.cross_entropy(space["model"](space["x"]), space["y"])
            space["optimizer"].zero_grad()
            loss.backward()
            watcher.log(loss=loss)
            space["optimizer"].step()


def _words(text):
    return " ".join(re.sub(r"[\d.,]+", "N", text).split())


def _commands():
    for page in PAGES:
        for kind, text in BLOCK.findall(page.read_text("utf-8")):
            for line in text.splitlines() if kind in ("", "sh") else ():
                if line.startswith("undertow "):
                    yield page.name, line
        for line in re.findall(r"`(undertow [a-z][^`]*)`", page.read_text("utf-8").replace("\n", " ")):
            yield page.name, line


@pytest.mark.parametrize(("page", "line"), sorted(set(_commands())))
def test_every_command_that_is_shown_exists_with_its_options(page, line):
    words = shlex.split(re.sub(r"[\[\]|]", " ", line), comments=True)
    known = typer.main.get_command(app).commands
    assert words[1] in known, page
    has = {name for each in known[words[1]].params for name in each.opts} | {"--help"}
    assert {word for word in words if word.startswith("--")} <= has, page

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow import Training
from undertow.demonstration.showing import RUNS, SHOWN, Demonstration
from undertow.store import open_run

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


def training(lr, steps=30):
    return Training(
        model=lambda: nn.Linear(4, 1),
        batches=[(X, X.sum(1, keepdim=True))],
        loss=lambda model, batch: functional.mse_loss(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=lr),
        score=lambda model: 1 / (1 + float(functional.mse_loss(model(X), X.sum(1, keepdim=True)))),
        steps=steps,
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder, what was said and the pages, after a demonstration in a folder that holds a run already."""
    folder, said = tmp_path_factory.mktemp("demo"), []
    demonstration = Demonstration(training(1e-6), folder, said.append, levels="A")
    demonstration.watched(RUNS[0], training(1e-6, steps=5))
    pages = demonstration.run("10m", Path(__file__))
    return folder, "\n".join(said), pages


def test_every_step_leaves_a_page_that_needs_no_network(shown):
    folder, _, pages = shown
    assert [page.path.name for page in pages] == [f"{name}.html" for name in SHOWN]
    for page in pages:
        text = page.path.read_text("utf-8")
        assert text.startswith("<!DOCTYPE html>")
        assert 'src="http' not in text
    assert (folder / Path(__file__).name).read_text() == Path(__file__).read_text()


def test_the_mended_training_learns_and_the_broken_one_does_not(shown):
    folder, said, _ = shown
    first, mended = (open_run(folder / f"{name}.undertow").scalars["loss"] for name in RUNS)
    assert first[-1] > 0.99 * first[0]
    assert mended[-1] < 0.1 * mended[0]
    assert "This training was repaired." in said
    assert "training-mended: accuracy" in said
    assert "after 30 steps" in said


def test_a_doctor_who_finds_nothing_says_what_to_do(tmp_path):
    said = []
    pages = Demonstration(training(0.1, steps=20), tmp_path, said.append, levels="").run("10m", Path(__file__))
    assert [page.path.name for page in pages] == ["1-broken.html", "2-doctor.html"]
    assert "undertow demo --budget" in said[-1]


def test_a_machine_too_slow_for_fair_trials_is_told_and_the_first_page_is_there(tmp_path):
    said: list[str] = []
    pages = Demonstration(training(0.1, steps=20), tmp_path, said.append).run("0.01", Path(__file__))
    assert "undertow demo --budget" in said[-1]
    assert [page.path.is_file() for page in pages] == [True]


def test_a_second_try_has_more_time(tmp_path):
    said: list[str] = []
    shown = Demonstration(training(1e-6), tmp_path, said.append, levels="A")
    pages = shown.run("0.01", Path(__file__), longer="10m")
    assert "once more, with more of it" in "\n".join(said)
    assert [page.path.name for page in pages] == [f"{name}.html" for name in SHOWN]

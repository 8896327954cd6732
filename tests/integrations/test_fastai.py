"""A fastai Learner, with and without the callback: the same bits, its optimizers' steps, and what its table shows."""

import logging
import pickle
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import undertow

pytest.importorskip("fastai")
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.schedule import fine_tune, fit_one_cycle, lr_find  # noqa: F401  # they patch Learner
from fastai.callback.training import GradientAccumulation, GradientClip
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import mse
from fastai.optimizer import SGD, Adam, OptimWrapper, ranger
from fastcore.basics import noop

from undertow.integrations.fastai import UndertowCallback


def body():
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))


def parts(model):
    return [list(model[:3].parameters()), list(model[3:].parameters())]


def learner(folder: Path, *callbacks, opt_func=Adam, make=body, **settings):
    torch.manual_seed(0)
    random.seed(0)  # fastai's loaders draw from it
    x = torch.randn(96, 8)
    rows = list(zip(x, x.sum(1, keepdim=True), strict=True))
    loaders = DataLoaders.from_dsets(rows, rows, bs=16, device="cpu", num_workers=0)
    made = Learner(
        loaders, make(), loss_func=nn.functional.mse_loss, opt_func=opt_func, cbs=list(callbacks), path=folder,
        metrics=mse, lr=0.01, **settings,
    )  # fmt: skip
    made.create_mbar = False
    made.logger = noop
    return made


def one_cycle(learn):
    learn.fit_one_cycle(2, 0.01)


def fine_tuned(learn):
    learn.freeze()
    learn.fit(1)
    learn.unfreeze()
    learn.fit(2)


WAYS = {
    "Adam": ({}, [], one_cycle),
    "SGD": ({"opt_func": partial(SGD, mom=0.9)}, [], one_cycle),
    "Lookahead": ({"opt_func": ranger}, [], one_cycle),
    "torch": ({"opt_func": partial(OptimWrapper, opt=torch.optim.AdamW)}, [], one_cycle),
    "clipped": ({}, [GradientClip(0.05)], one_cycle),
    "accumulated": ({}, [partial(GradientAccumulation, 64)], one_cycle),
    "bf16": ({}, [partial(MixedPrecision, amp_mode="bf16")], one_cycle),
    "fine tuned": ({"splitter": parts}, [], fine_tuned),
}
STEPS = {"accumulated": 2 * 6 // 4, "fine tuned": 18}


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("way", WAYS)
def test_same_bits_and_steps(way: str, every: int, tmp_path: Path) -> None:
    settings, others, train = WAYS[way]

    def made():
        return [each() if callable(each) and not hasattr(each, "order") else each for each in others]

    plain = learner(tmp_path, *made(), **settings)
    train(plain)
    drawn = torch.rand(2)
    callback = UndertowCallback(every=every, overhead=1.0)
    watched = learner(tmp_path, callback, *made(), **settings)
    train(watched)
    assert torch.equal(drawn, torch.rand(2))
    for a, b in zip(plain.model.state_dict().values(), watched.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert str(plain.recorder.losses) == str(watched.recorder.losses)
    run = undertow.open_run(tmp_path / "runs" / "run.undertow")
    steps = STEPS.get(way, 12)
    assert callback.session.watcher.step == steps
    assert sorted(set(run.scalars["step"].tolist()))[-1] == steps - 1
    if every == 1:
        assert run.scalars["step"].tolist() == list(range(steps))
        if way != "fine tuned":
            np.testing.assert_allclose(run.scalars["lr"][-1], watched.recorder.lrs[-1], rtol=1e-6)
    assert not [event.message for event in run.events if event.kind == "trouble"]


def test_losses_and_metrics_of_the_table_are_recorded(tmp_path: Path) -> None:
    learn = learner(tmp_path, UndertowCallback(every=1))
    learn.fit(3)
    run = undertow.open_run(tmp_path / "runs" / "run.undertow")
    for place, name in enumerate(("train_loss", "valid_loss", "mse")):
        noted = run.scalars[name][~np.isnan(run.scalars[name])]
        np.testing.assert_allclose(noted, [row[place] for row in learn.recorder.values], rtol=1e-6)
    assert run.header["optimizer"] == "Adam"


def test_clipped_gradients_are_those_the_optimizer_takes(tmp_path: Path) -> None:
    learn = learner(tmp_path, UndertowCallback(every=1), GradientClip(0.05))
    learn.fit(1)
    run = undertow.open_run(tmp_path / "runs" / "run.undertow")
    np.testing.assert_allclose(run.scalars["grad_norm"], 0.05, rtol=1e-3)
    assert (run.scalars["grad_norm_unclipped"] > 0.05).all()


def test_accumulated_losses_are_the_means_of_steps(tmp_path: Path) -> None:
    """fastai divides each batch's loss, so that the gradients of a step add up to the mean's."""
    losses: list[float] = []
    after = partial(lambda learn: losses.append(float(learn.loss)) if learn.training else None)
    learn = learner(tmp_path, UndertowCallback(every=1), GradientAccumulation(32))
    learn.add_cb(Callback(after_loss=lambda self: after(self.learn)))
    learn.fit(2)
    run = undertow.open_run(tmp_path / "runs" / "run.undertow")
    np.testing.assert_allclose(run.scalars["loss"], np.reshape(losses, (6, 2)).mean(1), rtol=1e-5)


def test_searches_validations_and_predictions_are_no_part(tmp_path: Path) -> None:
    callback = UndertowCallback(every=1)
    learn = learner(tmp_path, callback)
    learn.lr_find(show_plot=False, num_it=8)
    learn.validate()
    learn.get_preds()
    assert callback.session.watcher is None
    learn.fit(1)
    learn.validate()
    assert undertow.open_run(tmp_path / "runs" / "run.undertow").scalars["step"].tolist() == list(range(6))


def test_it_stops_in_fastais_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def deep():
        layers = [part for _ in range(12) for part in (nn.Linear(8, 8), nn.Sigmoid())]
        return nn.Sequential(*layers, nn.Linear(8, 1))

    callback = UndertowCallback(every=1, overhead=1.0, stop_on=["error"])
    learn = learner(tmp_path, callback, make=deep)
    with caplog.at_level(logging.WARNING, "undertow"):
        learn.fit(200)
    assert callback.session.watcher.stopping is not None
    assert callback.session.watcher.step < 1200
    assert f"training stops for {callback.session.watcher.stopping.code}" in caplog.text


def test_after_an_exception_the_next_fit_goes_on(tmp_path: Path) -> None:
    class Fails(Callback):
        run_valid = False

        def after_batch(self):
            if self.train_iter == 3:
                raise RuntimeError("mine")

    callback = UndertowCallback(every=1)
    learn = learner(tmp_path, callback)
    with pytest.raises(RuntimeError, match="mine"):
        learn.fit(1, cbs=Fails())
    learn.fit(1)
    run = undertow.open_run(tmp_path / "runs" / "run.undertow")
    assert run.scalars["step"].tolist() == list(range(9))


def test_a_learner_that_holds_it_is_pickled(tmp_path: Path) -> None:
    learn = learner(tmp_path, UndertowCallback(every=1))
    learn.fit(1)
    again = pickle.loads(pickle.dumps(learn.undertow))  # noqa: S301  # our own
    assert again.session.watcher.step == 6

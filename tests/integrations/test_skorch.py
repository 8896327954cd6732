"""A skorch net, with and without the callback: the same bits, its optimizer's steps, clipping and scores."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import undertow

pytest.importorskip("skorch")
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split

from undertow.integrations.skorch import UndertowCallback, training

X = np.random.default_rng(0).standard_normal((80, 8)).astype("float32")
Y = X.sum(1, keepdims=True)
SETTINGS = {"max_epochs": 3, "batch_size": 16, "verbose": 0, "lr": 0.01, "iterator_train__shuffle": True}


class Module(nn.Module):
    def __init__(self, depth=1, kind=nn.Tanh, out=1):
        super().__init__()
        hidden = [part for _ in range(depth) for part in (nn.Linear(8, 8), kind())]
        self.body = nn.Sequential(*hidden, nn.Dropout(0.1), nn.Linear(8, out))

    def forward(self, x):
        return self.body(x)


def fitted(*callbacks, **settings):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # skorch's split draws from it
    net = NeuralNetRegressor(Module, callbacks=list(callbacks), **SETTINGS | settings)
    return net.fit(X, Y)


WAYS = {
    "SGD": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
    "Adam": {"optimizer": torch.optim.Adam},
    "LBFGS": {"optimizer": torch.optim.LBFGS, "optimizer__max_iter": 3, "batch_size": 64},
    "groups": {"optimizer": torch.optim.AdamW, "optimizer__param_groups": [("body.0*", {"lr": 0.001})]},
}


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_same_bits_and_steps(way: str, every: int, tmp_path: Path) -> None:
    others = lambda: [GradientNormClipping(0.5), LRScheduler("StepLR", step_size=1, gamma=0.5)]  # noqa: E731
    plain = fitted(*others(), **WAYS[way])
    drawn = torch.rand(2)
    callback = UndertowCallback(tmp_path / "first.undertow", options={"every": every, "overhead": 1.0})
    watched = fitted(callback, *others(), **WAYS[way])
    assert torch.equal(drawn, torch.rand(2))
    for a, b in zip(plain.module_.parameters(), watched.module_.parameters(), strict=True):
        assert torch.equal(a, b)
    assert plain.history[:, "train_loss"] == watched.history[:, "train_loss"]
    steps = sum(len(epoch["batches"]) for epoch in watched.history) - 3  # one of validation in each
    run = undertow.open_run(callback.session_.watcher.path)
    assert callback.session_.watcher.step == steps
    assert run.scalars["step"].max() == steps - 1


def test_clipped_gradients_are_those_the_optimizer_takes(tmp_path: Path) -> None:
    fitted(UndertowCallback(tmp_path / "first.undertow", options={"every": 1}), GradientNormClipping(0.05))
    run = undertow.open_run(tmp_path / "first.undertow")
    np.testing.assert_allclose(run.scalars["grad_norm"], 0.05, rtol=1e-3)
    assert (run.scalars["grad_norm_unclipped"] > 0.05).all()


def test_losses_and_scores_are_recorded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    valid = predefined_split(
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor((Y[:, 0] > 0).astype("int64")))
    )
    callback = UndertowCallback(tmp_path / "first.undertow", options={"every": 1})
    net = NeuralNetClassifier(
        Module, module__out=2, criterion=nn.CrossEntropyLoss, train_split=valid, callbacks=[callback], **SETTINGS
    )
    net.fit(X, (Y[:, 0] > 0).astype("int64"))
    run = undertow.open_run(tmp_path / "first.undertow")
    for name in ("valid_loss", "valid_acc", "train_loss"):
        noted = run.scalars[name][~np.isnan(run.scalars[name])]
        np.testing.assert_allclose(noted, net.history[:, name], rtol=1e-6)
    np.testing.assert_allclose(run.scalars["loss"].reshape(3, 5).mean(1), net.history[:, "train_loss"], rtol=1e-5)
    assert not any(name.endswith("_best") or name == "dur" for name in run.scalars)


def test_partial_fit_goes_on_and_fit_begins_anew(tmp_path: Path) -> None:
    callback = UndertowCallback(tmp_path / "first.undertow", options={"every": 1})
    net = fitted(callback)
    net.partial_fit(X, Y)
    assert undertow.open_run(tmp_path / "first.undertow").scalars["step"].tolist() == list(range(24))
    with pytest.warns(RuntimeWarning, match="first-2"):
        net.fit(X, Y)
    assert undertow.open_run(tmp_path / "first.undertow").scalars["step"].tolist() == list(range(12))


def test_it_stops_in_skorchs_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    callback = UndertowCallback(tmp_path / "first.undertow", ["error"], options={"every": 1, "overhead": 1.0})
    with caplog.at_level(logging.WARNING, "undertow"):
        net = fitted(callback, module__depth=14, module__kind=nn.Sigmoid, max_epochs=300)
    assert callback.session_.watcher.stopping is not None
    assert len(net.history) < 300
    assert f"training stops for {callback.session_.watcher.stopping.code}" in caplog.text


def test_early_stops_and_exceptions(tmp_path: Path) -> None:
    class Fails(Callback):
        def on_batch_end(self, net, training=None, **_):
            if training and len(net.history) == 2:
                raise RuntimeError("mine")

    callback = UndertowCallback(tmp_path / "first.undertow", options={"every": 1})
    net = fitted(callback, EarlyStopping(patience=1, threshold=10.0), max_epochs=9)
    assert len(undertow.open_run(tmp_path / "first.undertow").scalars["step"]) == 4 * len(net.history)
    with pytest.warns(RuntimeWarning, match="first-2"), pytest.raises(RuntimeError, match="mine"):
        fitted(callback, Fails())
    callback.session_.end()
    assert len(undertow.open_run(tmp_path / "first.undertow").scalars["step"]) == 5


def test_sklearn_clones_and_searches(tmp_path: Path) -> None:
    callback = UndertowCallback(tmp_path / "first.undertow", options={"every": 1})
    assert clone(callback, safe=False).path == callback.path
    torch.manual_seed(0)
    net = NeuralNetRegressor(Module, callbacks=[callback], **SETTINGS | {"max_epochs": 1})
    with pytest.warns(RuntimeWarning, match="first-"):
        GridSearchCV(net, {"lr": [0.1, 0.01]}, cv=2, scoring="neg_mean_squared_error").fit(X, Y)
    assert len(list(tmp_path.glob("*.undertow"))) == 5  # two rates by two folds, and the best anew
    assert pickle.loads(pickle.dumps(fitted(callback))).callbacks[0].session_.watcher.step == 12  # noqa: S301


def test_a_net_of_several_modules_and_optimizers(tmp_path: Path) -> None:
    class Two(NeuralNet):
        def initialize_module(self):
            self.maker_, self.judge_ = Module(out=8), Module()
            return self

        def initialize_optimizer(self):
            self.maker_opt_ = torch.optim.SGD(self.maker_.parameters(), lr=0.01)
            self.judge_opt_ = torch.optim.SGD(self.judge_.parameters(), lr=0.01)
            return self

        def infer(self, x, **_):
            return self.judge_(self.maker_(x))

        def train_step(self, batch, **_):
            losses = []
            for optimizer in (self.judge_opt_, self.maker_opt_):
                optimizer.zero_grad()
                losses.append(self.infer(batch[0]).square().mean())
                losses[-1].backward()
                optimizer.step()
            return {"loss": losses[0], "y_pred": None}

    torch.manual_seed(0)
    callback = UndertowCallback(tmp_path / "first.undertow", options={"every": 1})
    net = Two(None, criterion=nn.MSELoss, train_split=None, callbacks=[callback], **SETTINGS)
    net.fit(X, Y)
    run = undertow.open_run(tmp_path / "first.undertow")
    assert {name.partition(".")[0] for name in run.parameters} == {"maker", "judge"}
    assert callback.session_.watcher.step == 15


def test_a_net_as_a_training_takes_the_steps_that_the_net_takes() -> None:
    settings = SETTINGS | {"max_epochs": 2, "iterator_train__shuffle": False, "train_split": None}
    groups = {"optimizer": torch.optim.AdamW, "optimizer__param_groups": [("body.0*", {"lr": 0.001})]}
    torch.manual_seed(0)
    callbacks = [GradientNormClipping(0.5)]
    net = NeuralNetRegressor(Module, module__kind=nn.Tanh, callbacks=callbacks, **groups, **settings)
    net.fit(X, Y)
    found = training(net, X, Y)
    weights = {name: p.clone() for name, p in net.module_.state_dict().items()}
    assert (found.steps, found.clip_grad_norm) == (10, 0.5)
    model = found.model()
    assert model is not net.module_
    optimizer = found.optimizer(model)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["lr"] for group in optimizer.param_groups] == [0.001, 0.01]
    # The same steps by hand, of the same start: dropout draws alike.
    twin = Module()
    twin.load_state_dict(model.state_dict())
    for batch in list(found.batches())[:1]:
        torch.manual_seed(1)
        loss = found.loss(model, batch)
        torch.manual_seed(1)
        assert loss == nn.functional.mse_loss(twin(batch[0]), batch[1])
    for name, p in net.module_.state_dict().items():
        assert torch.equal(p, weights[name])


def test_the_doctor_treats_a_net() -> None:
    torch.manual_seed(0)
    net = NeuralNetRegressor(Module, module__depth=12, module__kind=nn.Sigmoid, **SETTINGS)
    found = training(net, X, Y)
    trial = found.run(seed=0, steps=8)
    assert len(trial.losses) == 8
    assert trial.score < 0  # the loss on the fifth that skorch keeps aside
    report = undertow.examine(made := found.model(), lambda: found.loss(made, next(iter(found.batches()))))
    assert "UT101" in {finding.code for finding in report.findings}
    assert undertow.prescribe(report)


def test_a_net_of_several_is_no_training() -> None:
    class Two(NeuralNet):
        def initialize_module(self):
            self.one_, self.other_ = Module(), Module()
            return self

        def initialize_optimizer(self):
            self.opt_ = torch.optim.SGD(self.one_.parameters(), lr=0.1)
            return self

    with pytest.raises(ValueError, match="the net has 2 modules and 1 optimizers"):
        training(Two(None, criterion=nn.MSELoss, **SETTINGS), X, Y)

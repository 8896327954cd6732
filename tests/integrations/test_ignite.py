"""An Ignite engine, with and without the handler: the same bits, the optimizer's steps, and metrics of evaluators."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import undertow

pytest.importorskip("ignite")
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import EarlyStopping, FastaiLRFinder
from ignite.metrics import Loss

from undertow.integrations.ignite import UndertowHandler

mse = nn.functional.mse_loss


def batches(count=8):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 16, 8, generator=generator)
    return [(each, each.sum(1, keepdim=True)) for each in x]


def body(depth=1, kind=nn.Tanh):
    hidden = [part for _ in range(depth) for part in (nn.Linear(8, 8), kind())]
    return nn.Sequential(*hidden, nn.Dropout(0.1), nn.Linear(8, 1))


def clipped(model, optimizer):
    def update(_, batch):
        model.train()
        optimizer.zero_grad()
        loss = mse(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
        return loss.item()

    return Engine(update)


WAYS = {
    "plain": lambda m, o: create_supervised_trainer(m, o, mse),
    "accumulated": lambda m, o: create_supervised_trainer(m, o, mse, gradient_accumulation_steps=4),
    "clipped": clipped,
}


def trained(way, path=None, epochs=3, prepare=lambda *_: None, make=body, lr=0.01, **options):
    torch.manual_seed(0)
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    trainer = WAYS[way](model, optimizer)
    evaluator = create_supervised_evaluator(model, {"val_loss": Loss(mse)})
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(batches(2)))
    handler = None if path is None else UndertowHandler(model, optimizer, path, **options).attach(trainer, evaluator)
    prepare(trainer, evaluator, model, optimizer)
    outputs = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    trainer.run(batches(), max_epochs=epochs)
    return model, outputs, handler, trainer


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_same_bits_and_steps(way: str, every: int, tmp_path: Path) -> None:
    plain, outputs, *_ = trained(way)
    drawn = torch.rand(2)
    watched, ours, handler, _ = trained(way, tmp_path / "first.undertow", every=every, overhead=1.0)
    assert torch.equal(drawn, torch.rand(2))
    assert outputs == ours
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)
    run = undertow.open_run(tmp_path / "first.undertow")
    steps = 6 if way == "accumulated" else 24
    assert handler.session.watcher.step == steps
    assert run.scalars["step"].max() == steps - 1
    if every == 1:
        np.testing.assert_allclose(run.scalars["loss"], np.reshape(outputs, (steps, -1)).mean(1), rtol=1e-5)
        if way == "clipped":
            np.testing.assert_allclose(run.scalars["grad_norm"], 0.05, rtol=1e-3)


def test_metrics_of_evaluators_are_recorded(tmp_path: Path) -> None:
    seen = []

    def prepare(_, evaluator, *__):
        evaluator.add_event_handler(Events.COMPLETED, lambda engine: seen.append(engine.state.metrics["val_loss"]))

    trained("plain", tmp_path / "first.undertow", prepare=prepare, every=1)
    run = undertow.open_run(tmp_path / "first.undertow")
    np.testing.assert_allclose(run.scalars["val_loss"][~np.isnan(run.scalars["val_loss"])], seen, rtol=1e-6)


def test_exceptions_are_raised_unless_somebody_else_handles_them(tmp_path: Path) -> None:
    def fail(engine):
        if engine.state.iteration == 5:
            raise RuntimeError("mine")

    def fails(trainer, *_):
        trainer.add_event_handler(Events.ITERATION_COMPLETED, fail)

    with pytest.raises(RuntimeError, match="mine"):
        trained("plain", tmp_path / "first.undertow", prepare=fails, every=1)
    assert undertow.open_run(tmp_path / "first.undertow").scalars["step"].tolist() == list(range(5))
    handled = []

    def handles(trainer, *_):
        fails(trainer)
        trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda _, error: handled.append(error))

    trained("plain", tmp_path / "second.undertow", prepare=handles, every=1)
    assert [str(error) for error in handled] == ["mine"]


def test_a_second_run_and_a_checkpoint_go_on(tmp_path: Path) -> None:
    model, _, handler, trainer = trained("plain", tmp_path / "first.undertow", every=1, epochs=1)
    trainer.run(batches(), max_epochs=3)
    steps = undertow.open_run(tmp_path / "first.undertow").scalars["step"].tolist()
    assert steps == list(range(handler.session.watcher.step))
    assert len(steps) in (24, 32)  # Ignite goes on to the third epoch, or begins to count anew
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.load_state_dict(handler._optimizers[0].state_dict())
    again = WAYS["plain"](model, optimizer)
    again.load_state_dict({"iteration": len(steps), "epoch_length": 8, "max_epochs": len(steps) // 8 + 1})
    UndertowHandler(model, optimizer, tmp_path / "first.undertow", every=1).attach(again)
    again.run(batches())
    assert undertow.open_run(tmp_path / "first.undertow").scalars["step"].tolist() == list(range(len(steps) + 8))


def test_it_stops_in_ignites_way_and_early_stops_are_heard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    deep = lambda: body(14, nn.Sigmoid)  # noqa: E731
    options = {"every": 1, "overhead": 1.0, "stop_on": ["error"]}
    with caplog.at_level(logging.WARNING):
        *_, handler, trainer = trained("plain", tmp_path / "first.undertow", 300, make=deep, **options)
    found = handler.session.watcher.stopping
    assert found is not None
    assert trainer.state.iteration < 2400
    assert f"training stops for {found.code}" in caplog.text

    def early(trainer, evaluator, *_):
        evaluator.add_event_handler(Events.COMPLETED, EarlyStopping(1, lambda _: 0.0, trainer))

    *_, handler, trainer = trained("plain", tmp_path / "second.undertow", 9, prepare=early, every=1)
    assert trainer.state.epoch == 2
    assert "closed" in repr(handler.session.watcher)


def test_a_search_for_a_learning_rate_is_no_part(tmp_path: Path) -> None:
    found = []

    def search(trainer, _, model, optimizer):
        finder = FastaiLRFinder()
        saved = {"model": model, "optimizer": optimizer}
        with finder.attach(trainer, saved, num_iter=12, end_lr=0.1) as searching:
            searching.run(batches())
        found.extend(finder.get_results()["lr"])

    *_, handler, _ = trained("plain", tmp_path / "first.undertow", 2, prepare=search, every=1)
    assert len(found) >= 10
    assert undertow.open_run(tmp_path / "first.undertow").scalars["step"].tolist() == list(range(16))
    assert handler.session.watcher.step == 16

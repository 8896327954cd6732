"""What a Run says is what happened: numbers against those that a loop of our own computes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import undertow
from undertow.record import Run
from undertow.watching import pass_placement
from watching import loops
from watching.loops import Left, sgd, train
from watching.training import Attach, batch, loss_of, net

Watched = Callable[..., tuple[dict[str, Any], Run]]


def total(tensors: list[Tensor]) -> float:
    return float(torch.cat([t.flatten().double() for t in tensors]).norm())


def events(run: Run, kind: str) -> list[Any]:
    return [event for event in run.events if event.kind == kind]


def test_norms_updates_and_progress(watched: Watched) -> None:
    """Small parameters are read whole: the update is exact."""
    true: dict[str, list[list[float]]] = {name: [] for name in ("grad_norm", "update_norm", "weight_norm", "progress")}
    before: list[Tensor] = []

    def read(model: nn.Module) -> None:
        before[:] = [p.detach().clone() for p in model.parameters()]
        true["grad_norm"].append([float(p.grad.double().norm()) for p in model.parameters()])
        true["weight_norm"].append([float(p.detach().double().norm()) for p in model.parameters()])

    def compare(model: nn.Module, _: int) -> None:
        steps = [p.detach().double() - b.double() for p, b in zip(model.parameters(), before, strict=True)]
        true["update_norm"].append([float(step.norm()) for step in steps])
        inner = [-float((p.grad.double() * s).sum()) for p, s in zip(model.parameters(), steps, strict=True)]
        true["progress"].append([each / sum(inner) if sum(inner) > 0 else np.nan for each in inner])

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)
        return train(attach, model, optimizer, before_step=read, after_step=compare)

    left, run = watched(loop, every=1)
    for name, rows in true.items():
        np.testing.assert_allclose(run.parameter_columns[name], rows, rtol=2e-4, err_msg=name)
    np.testing.assert_allclose(run.scalars["grad_norm"], np.linalg.norm(true["grad_norm"], axis=1), rtol=1e-5)
    np.testing.assert_allclose(run.scalars["loss"], left["losses"], rtol=1e-6)
    assert run.scalars["backwards"].tolist() == list(range(1, 8))


def test_updates_of_large_layers_are_sampled(watched: Watched) -> None:
    """Within a few percent, of an embedding too, whose step touches a few rows."""
    true = []

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.hidden, self.out = nn.Embedding(5000, 32), nn.Linear(32, 600), nn.Linear(600, 40)

        def forward(self, words: Tensor) -> Tensor:
            return self.out(torch.tanh(self.hidden(self.words(words).mean(1))))

    def loop(attach: Attach) -> Left:
        model = Reader()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        attach(model, optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(torch.randint(5000, (64, 12))), torch.randint(40, (64,))).backward()
            optimizer.step()
            true.append([float(p.grad.norm()) for p in model.parameters()])
        return model, []

    _, run = watched(loop, every=1)
    np.testing.assert_allclose(run.parameter_columns["update_norm"], true, rtol=0.06)
    np.testing.assert_allclose(run.parameter_columns["progress"].sum(1), 1.0, rtol=1e-5)


def test_the_tape_is_that_of_examine(watched: Watched) -> None:
    """The first step of training, against an examination of the same model, batch and optimizer."""

    def loop(attach: Attach, steps: int = 1) -> Left:
        model = net(activation=nn.Sigmoid)
        return train(attach, model, sgd(model), steps=steps)

    _, run = watched(loop, every=1)
    torch.manual_seed(0)
    model = net(activation=nn.Sigmoid)
    x, y = batch()
    report = undertow.examine(model, lambda: nn.functional.cross_entropy(model(x), y), sgd(model))
    assert run.sites == report.run.sites
    assert run.edges == report.run.edges
    for name, column in report.run.columns.items():
        np.testing.assert_allclose(run.columns[name], column, rtol=2e-3 if name == "progress" else 1e-4, err_msg=name)


def test_clipping_is_recorded_before_and_after(watched: Watched) -> None:
    seen: list[tuple[float, float]] = []

    def loop(attach: Attach) -> Left:
        model = net()

        def clip(model: nn.Module) -> None:
            before = float(nn.utils.clip_grad_norm_(model.parameters(), 0.05))
            seen.append((before, total([p.grad for p in model.parameters()])))

        return train(attach, model, sgd(model), before_step=clip)

    for every in (1, 100):  # taped, and merely noted
        seen.clear()
        _, run = watched(loop, every=every, overhead=1.0)
        at = run.scalars["step"].astype(int)
        np.testing.assert_allclose(run.scalars["grad_norm_unclipped"], np.array(seen)[at, 0], rtol=1e-5)
        np.testing.assert_allclose(run.scalars["grad_norm"], np.array(seen)[at, 1], rtol=1e-5)
        assert (run.scalars["grad_norm"] < 0.051).all()


def test_clipping_that_nobody_hears_of_is_known_on_taped_steps(watched: Watched) -> None:
    _, run = watched(loops.clipping_by_value, every=2, overhead=1.0)
    taped = np.isin(run.scalars["step"], run.steps["step"])
    assert (run.scalars["grad_norm_unclipped"][taped] > 1.2 * run.scalars["grad_norm"][taped]).all()
    assert np.isnan(run.scalars["grad_norm_unclipped"][~taped]).all()


def test_a_scaled_loss_leaves_no_trace_in_the_numbers(watched: Watched) -> None:
    """Scales are powers of two, so every number can be, and is, that of the same training without a scale."""

    def loop(attach: Attach, scale: float) -> Left:
        model = net()
        optimizer = sgd(model)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2, enabled=scale > 1)
        attach(model, optimizer, scaler=scaler)
        for _ in range(5):
            optimizer.zero_grad()
            scaler.scale(loss_of(model)).backward()
            scaler.step(optimizer)
            scaler.update()
        return model, []

    (_, scaled), (_, plain) = (watched(lambda attach, s=s: loop(attach, s), every=1) for s in (256.0, 1.0))
    assert scaled.header["loss_scale"] == "known"
    assert plain.header["loss_scale"] == "1"
    assert scaled.scalars["scale"].tolist() == [256, 256, 512, 512, 1024]
    assert scaled.sites[0].op == "mul"  # by the scale
    for name, column in plain.columns.items():
        np.testing.assert_array_equal(scaled.columns[name][:, 1:], column, err_msg=name)
    for name in ("loss", "grad_norm", "grad_norm_unclipped"):
        np.testing.assert_array_equal(scaled.scalars[name], plain.scalars[name], err_msg=name)
    for name, column in plain.parameter_columns.items():
        np.testing.assert_array_equal(scaled.parameter_columns[name], column, err_msg=name)


@pytest.mark.parametrize("loop", [loops.scaler, loops.scaler_fused, loops.scaler_fused_not_told])
def test_skipped_steps_are_counted_and_said(loop: Callable[[Attach], Left], watched: Watched) -> None:
    """Steps 2 and 5 overflow; the optimizer's hook doesn't even hear of them, unless it is a fused one."""
    for every in (1, 100) if loop is loops.scaler else (1,):
        _, run = watched(loop, every=every, overhead=1.0)
        skipped = run.scalars["step"][np.nan_to_num(run.scalars["skipped"]) == 1]
        assert skipped.tolist() == [2, 5]
        assert run.scalars["nonfinite"][np.isin(run.scalars["step"], skipped)].tolist() == [1, 1]
        assert run.header["loss_scale"] == "known"
        assert run.scalars["backwards"].max() <= 7
        first = events(run, "nonfinite")[0]
        assert (first.step, first.data["skipped"], first.data["scale"]) == (2, True, 1024)
        if every == 1:
            assert run.steps["step"].tolist() == ([0, 1, 2, 4, 5] if loop is loops.scaler else list(range(7)))
            assert not np.isfinite(run.column("grad_output", run.steps["step"].tolist().index(2))).all()


def test_a_fused_optimizer_that_skips_between_two_notes(watched: Watched) -> None:
    """The host hears nothing of it; the scale falls, and what the gradient was tells when."""

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        watcher = attach(model, optimizer, scaler=scaler)
        while watcher.step < 61 or watcher._hooks.observations.last <= 61:
            step = watcher.step
            optimizer.zero_grad()
            scaler.scale(loss_of(model) * (float("inf") if step == 61 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
        return model, []

    _, run = watched(loop, every=100_000, overhead=0.1)
    skipped = run.scalars["step"][np.nan_to_num(run.scalars["skipped"]) == 1]
    assert skipped.tolist() == [61]


def test_an_unknown_scale_is_called_unknown(watched: Watched) -> None:
    _, run = watched(loops.scaler_not_told, every=1)
    assert run.header["loss_scale"] == "unknown"
    trouble = events(run, "trouble")
    assert [event.data["divided"] for event in trouble] == [1024]
    assert "scaler=scaler" in trouble[0].message


def test_which_micro_batch_was_taped(watched: Watched) -> None:
    left, run = watched(loops.accumulation, every=1)
    assert run.header["micro_batch"] == {"taped": 0, "of": 3}
    assert len(events(run, "micro-batch")) == 1
    assert run.steps["step"].tolist() == list(range(7))
    np.testing.assert_allclose(run.scalars["loss"], left["losses"][::3], rtol=1e-6)
    assert run.scalars["backwards"].tolist() == [3, 6, 9, 12, 15, 18, 21]
    speed, norm = run.column("weight_grad_norm", 0), run.parameter_columns["grad_norm"][0]
    assert np.nanmax(speed) == pytest.approx(norm.max(), rel=1e-5)  # of all three together


def test_groups_and_frozen_layers(watched: Watched) -> None:
    _, run = watched(loops.parameter_groups, every=1)
    assert run.parameter_columns["lr"][0].tolist()[::2] == pytest.approx(
        [0.1, 0.05, 0.025, 0.0125][: len(run.parameters) // 2]
    ) or (np.unique(run.parameter_columns["lr"][0]).size == 4)
    _, run = watched(loops.frozen_then_not, every=1)
    norm = run.parameter_columns["grad_norm"]
    first, second = run.parameters.index("0.weight"), run.parameters.index("2.weight")
    assert np.isnan(norm[:3, first]).all()
    assert np.isfinite(norm[3:, first]).all()
    assert np.isfinite(norm[:3, second]).all()
    assert np.isnan(norm[3:, second]).all()
    _, run = watched(loops.schedule, every=1)
    assert run.scalars["lr"].tolist() == pytest.approx([0.01 * (n + 1) for n in range(7)])


def test_every_optimizer_of_a_gan_is_seen(watched: Watched) -> None:
    """Backward passes between any two steps get their turn: the critic's own graph, and the generator's through it."""
    _, run = watched(loops.gan, every=1)
    assert len(run.header["graphs"]) == 2
    assert np.isfinite(run.parameter_columns["update_norm"][-1]).all()
    assert {name.split(".")[0] for name in run.parameters} == {"generator", "critic"}
    assert max(run.scalars["step"]) == 6


def test_a_closure_is_taped_where_it_first_computes(watched: Watched) -> None:
    left, run = watched(loops.lbfgs, every=1)
    np.testing.assert_allclose(run.scalars["loss"], left["losses"], rtol=1e-6)  # of its first evaluation
    assert np.isfinite(run.parameter_columns["update_norm"]).all()
    assert (run.parameter_columns["update_norm"] > 0).all()
    assert len(run) == 4


@pytest.mark.parametrize("every", [1, 5, 100_000])
def test_the_first_non_finite_step_is_found(every: int, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also between two notes, and without a scaler: at step 13. Known for sure if step 12 was looked at."""
    monkeypatch.setattr(pass_placement, "COUNTING_FROM", float("-inf"))
    monkeypatch.setitem(pass_placement.IN_FRONT_FROM, "cpu", float("inf"))

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        while watcher.step < 30 or watcher._hooks.observations.last <= 13:
            optimizer.zero_grad()
            (loss_of(model) * (float("nan") if watcher.step == 13 else 1.0)).backward()
            optimizer.step()
        return model, []

    _, run = watched(loop, every=every, overhead=0.1)
    found = events(run, "nonfinite")
    assert len(found) == 1
    assert found[0].data["step"] == 13
    finite = run.scalars["step"][run.scalars["nonfinite"] == 0]
    assert found[0].data["after"] == finite.max()
    assert found[0].data["exact"] == (finite.max() == 12)
    assert found[0].data["seen"] >= 13
    assert found[0].data["lag"] >= 0


class Breaking(torch.autograd.Function):
    """Loses the gradient on its way back, when told to."""

    now = False

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g / 0 if Breaking.now else g


@pytest.mark.parametrize(("both", "step"), [(True, 13), (False, 14)])
def test_what_begins_in_front_is_known_if_both_ends_are_kept(
    both: bool, step: int, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At step 13 the gradient is lost behind the first layer, whose weights are lost with it: so all is at step 14."""
    monkeypatch.setattr(pass_placement, "COUNTING_FROM", float("-inf"))
    monkeypatch.setitem(pass_placement.IN_FRONT_FROM, "cpu", -1.0 if both else float("inf"))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.back = nn.Linear(8, 6), net(out=3)
            self.back[0] = nn.Linear(6, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.back(Breaking.apply(torch.tanh(self.front(x))))

    def loop(attach: Attach) -> Left:
        model = Net()
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        while watcher.step < 40:
            Breaking.now = watcher.step == 13
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
        return model, []

    _, run = watched(loop, every=20, overhead=1e-9)
    found = events(run, "nonfinite")
    assert [each.data["step"] for each in found] == [step]
    assert found[0].data["exact"] is both


def test_what_the_user_logs(watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        for step in range(30):
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            optimizer.step()
            watcher.log(loss=loss.detach() * 2)
            if step % 10 == 9:
                watcher.log(accuracy=step / 100)
        with pytest.raises(ValueError, match="log one number"):
            watcher.log(loss=torch.ones(3))
        return model, []

    _, run = watched(loop, every=7, overhead=0.5)
    steps = run.scalars["step"].tolist()
    assert len(set(steps)) == len(steps)
    accuracy = {step: v for step, v in zip(steps, run.scalars["accuracy"], strict=True) if not np.isnan(v)}
    assert accuracy == {9: 0.09, 19: 0.19, 29: 0.29}


def test_steps_that_are_computed_together_have_the_bits_of_those_computed_alone(tmp_path: Path) -> None:
    def runs(name: str, alone: bool) -> list[Run]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))
        optimizer = sgd(model)
        with undertow.watch(model, optimizer, tmp_path / name, every=1) as watcher:
            for step in range(30):
                optimizer.zero_grad()
                # Every seventh step has another graph: it parts those before from those behind.
                (2 * loss_of(model) if step % 7 == 3 else loss_of(model)).backward()
                optimizer.step()
                if alone:
                    watcher.flush()
        return [undertow.open_run(watcher.path, graph=graph) for graph in (0, 1)]

    together, alone = runs("together.undertow", False), runs("alone.undertow", True)
    assert [len(run) for run in together] == [len(run) for run in alone] == [26, 4]
    for ours, theirs in zip(together, alone, strict=True):
        for group in ("columns", "edge_columns", "parameter_columns"):
            for name, column in getattr(theirs, group).items():
                np.testing.assert_array_equal(getattr(ours, group)[name], column, err_msg=name)


@pytest.mark.parametrize("size", [1e-30, 1e25])
def test_gradients_that_float32_cannot_square_have_their_norms_nevertheless(size: float, watched: Watched) -> None:
    """As soon as the first look's numbers have arrived; and until then nobody says that they aren't finite."""
    true: list[float] = []

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        watcher = attach(model, optimizer)
        for _ in range(5):
            optimizer.zero_grad()
            (size * loss_of(model)).backward()
            true.append(total([p.grad for p in model.parameters() if p.grad is not None]))
            optimizer.step()
            watcher.flush()
        return model, []

    _, run = watched(loop, every=1)
    np.testing.assert_allclose(run.scalars["grad_norm"][2:], true[2:], rtol=1e-5)
    first = next(site.index for site in reversed(run.sites) if site.parameters)
    assert np.isfinite(np.log(run.columns["learning_speed"][2:, first])).all()
    assert run.scalars["nonfinite"].tolist()[2:] == [0, 0, 0]
    assert not events(run, "nonfinite")


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("micro", [1, 3])
def test_passes_are_counted_and_what_is_logged_has_its_step(
    micro: int, short: bool, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hooks, and where steps are short by the optimizer's steps; logged before the step or behind it."""
    monkeypatch.setattr(pass_placement, "COUNTING_FROM", float("inf") if short else float("-inf"))

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        for step in range(40):
            optimizer.zero_grad()
            for _ in range(micro):
                loss_of(model).backward()
            if step % 3 == 0:
                watcher.log(before=float(step))
            optimizer.step()
            if step % 3 == 1:
                watcher.log(behind=float(step))
        return model, []

    _, run = watched(loop, every=7)
    steps = run.scalars["step"]
    noted = ~np.isnan(run.scalars["backwards"])
    np.testing.assert_array_equal(run.scalars["backwards"][noted], micro * (steps[noted] + 1))
    for name, at in (("before", range(0, 40, 3)), ("behind", range(1, 40, 3))):
        known = ~np.isnan(run.scalars[name])
        assert steps[known].tolist() == run.scalars[name][known].tolist() == list(at)

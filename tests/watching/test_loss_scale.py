"""A loss scale leaves no trace in the numbers, and an unknown one is called so."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import undertow
from watching.loops import Left, sgd, train
from watching.training import Attach, Watched, events, loss_of, net


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


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("clips", [True, False])
def test_a_scaler_that_nobody_handed_over_is_found_and_clipping_does_not_hide_it(
    told: bool, clips: bool, watched: Watched
) -> None:
    """Handed over or not, wrapped or not, the numbers are those of the same training; skipped steps are seen."""

    class Native:
        def __init__(self) -> None:
            self._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)

        def __call__(self, loss: Tensor, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
            self._scaler.scale(loss).backward()
            if clips:
                self._scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            self._scaler.step(optimizer)
            self._scaler.update()

    seen: list[float] = []

    def loop(attach: Attach) -> Left:
        model, native = net(), Native()
        optimizer = sgd(model)
        attach(model, optimizer, **({"scaler": native} if told else {}))
        for step in range(6):
            optimizer.zero_grad()
            loss = loss_of(model) * torch.tensor(float("inf") if step in (0, 3) else 1.0)
            native(loss, optimizer, model)
            seen.append(loss.item())
        return model, []

    for every in (1, 100):
        seen.clear()
        _, run = watched(loop, every=every, overhead=1.0)
        assert run.header["loss_scale"] == "known"
        at = run.scalars["step"].astype(int)
        finite = np.isfinite(np.array(seen)[at]) & ~np.isnan(run.scalars["loss"])
        np.testing.assert_allclose(run.scalars["loss"][finite], np.array(seen)[at][finite], rtol=1e-5)
        assert at[np.nan_to_num(run.scalars["skipped"]) == 1].tolist() == [0, 3]
        assert np.nanmax(run.scalars["grad_norm"][finite]) < 10


@pytest.mark.parametrize("clips", [True, False])
def test_a_scale_of_somebodys_own_is_called_unknown(clips: bool, watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model = net()

        def unscale(model: nn.Module) -> None:
            for p in model.parameters():
                p.grad /= 1024
            if clips:
                nn.utils.clip_grad_norm_(model.parameters(), 0.01)

        return train(attach, model, sgd(model), lambda m: 1024 * loss_of(m), before_step=unscale)

    _, run = watched(loop, every=1)
    assert run.header["loss_scale"] == "unknown"
    trouble = events(run, "trouble")
    assert [round(event.data["divided"], 1) for event in trouble] == [1024]
    assert "scaler=scaler" in trouble[0].message


def test_what_is_no_scaler_is_refused(tmp_path: Path) -> None:
    model = net()
    with pytest.raises(TypeError, match="nor a wrapper around one"):
        undertow.watch(model, sgd(model), tmp_path / "first.undertow", scaler=3.0)
    assert not list(tmp_path.iterdir())

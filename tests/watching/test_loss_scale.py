"""A loss scale leaves no trace in the numbers, and an unknown one is called so."""

import numpy as np
import torch

from watching import loops
from watching.loops import Left, sgd
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


def test_an_unknown_scale_is_called_unknown(watched: Watched) -> None:
    _, run = watched(loops.scaler_not_told, every=1)
    assert run.header["loss_scale"] == "unknown"
    trouble = events(run, "trouble")
    assert [event.data["divided"] for event in trouble] == [1024]
    assert "scaler=scaler" in trouble[0].message

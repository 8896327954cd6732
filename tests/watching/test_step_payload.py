"""Columns of many steps at once."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

import undertow
from undertow.record import Run
from watching.loops import sgd
from watching.training import loss_of


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

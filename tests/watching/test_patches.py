"""Functions of torch's that are replaced for a while."""

from pathlib import Path
from typing import Any

import pytest
import torch

import undertow
from watching.loops import sgd
from watching.training import net, steps


def test_a_function_that_others_replaced_stays_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody wraps torch.autograd.backward while we do: their function must survive ours."""
    model = net()
    optimizer = sgd(model)
    calls = []
    watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1)
    ours = torch.autograd.backward

    def theirs(*args: Any, **kwargs: Any) -> None:
        calls.append(1)
        ours(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "backward", theirs)
    steps(model, optimizer, 3)
    watcher.close()
    steps(model, optimizer, 2)
    assert torch.autograd.backward is theirs
    assert len(calls) == 5
    assert len(undertow.open_run(watcher.path)) == 3
    monkeypatch.undo()

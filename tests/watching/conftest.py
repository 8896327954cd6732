from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import undertow
from undertow.record import Run
from watching.training import Loop, trained


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Run]]:
    """Train under a watcher: what training left behind, and the Run."""

    def run(loop: Loop, **settings: Any) -> tuple[dict[str, Any], Run]:
        watchers = []

        def attach(model: nn.Module, optimizer: Any, **more: Any) -> Any:
            watchers.append(undertow.watch(model, optimizer, tmp_path / "first.undertow", **{**settings, **more}))
            return watchers[0]

        left = trained(loop, attach)
        watchers[0].close()
        return left, undertow.open_run(watchers[0].path)

    return run

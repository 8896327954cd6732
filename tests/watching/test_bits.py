"""Training is bit-identical with and without a watcher, however people train."""

import pytest

from watching.loops import LOOPS
from watching.training import Loop, Watched, assert_same, no_watcher, trained


@pytest.mark.parametrize("every", [1, 3, None])
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_the_same_bits(loop: Loop, every: int | None, watched: Watched) -> None:
    left, run = watched(loop, every=every)
    assert_same(left, trained(loop, no_watcher))
    assert not [event for event in run.events if event.kind == "trouble" and "stopped watching" in event.message]
    assert len(run.scalars["step"])
    if every == 1:
        assert len(run) >= 1

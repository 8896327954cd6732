"""The step at which a watched training goes on: that of the checkpoint that was loaded, not the last one recorded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from undertow.store.rank_paths import rank_path
from undertow.store.rewinding import ENDED, OFFSET, progress
from undertow.watching.unwrapping import bases
from undertow.watching.watch_target import WatchTarget


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Say where watching begins.

    Attributes:
        step: the first.
        backwards: passes before it.
        skipped: steps before it that the optimizer didn't take.
    """

    step: int = 0
    backwards: int = 0
    skipped: int = 0


def counted_steps(optimizer: Optimizer) -> int | None:
    """Return the steps that an optimizer has counted itself, as Adam does; None if it doesn't, or had none yet.

    Example:
        >>> import torch
        >>> weight = torch.ones(2, requires_grad=True)
        >>> adam, sgd = torch.optim.Adam([weight]), torch.optim.SGD([weight], momentum=0.9)
        >>> weight.sum().backward()
        >>> for _ in range(3):
        ...     adam.step()
        ...     sgd.step()
        >>> counted_steps(adam), counted_steps(sgd)
        (3, None)
    """
    whole = (optimizer, *bases(optimizer))
    states = [state for each in whole for state in each.state.values() if isinstance(state, dict)]
    groups = [group for each in whole for group in each.param_groups]
    counts = [_number(each.get("step")) for each in (*states, *groups)]
    known = [count for count in counts if count is not None and count > 0]
    return max(known) if known else None


def resumed(path: Path, target: WatchTarget, step: int | None) -> ResumePoint:
    """Return where a training goes on that was recorded in a file.

    Args:
        path: of the Run; rank 0's.
        target: what is watched; the optimizer's state is loaded if it is ever to be.
        step: that the user gave, None to find it.
    """
    went = progress(rank_path(path, target.ranks.rank))
    if step is None:
        counted = counted_steps(target.optimizers[0])
        found = None if counted is None else went.step_of(counted)
        step = went.next_step if found is None else found
    return ResumePoint(step, went.backwards_at(step), step - went.counted_at(step))


def offset_of(target: WatchTarget, start: ResumePoint) -> dict[str, Any]:
    """Return for the header what the optimizer had counted before step 0, and that this session hasn't ended."""
    counted = counted_steps(target.optimizers[0]) or 0
    return {OFFSET: counted - (start.step - start.skipped), **({ENDED: None} if start.step else {})}


def _number(value: object) -> int | None:
    if isinstance(value, Tensor) and value.numel() == 1:
        return int(value)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

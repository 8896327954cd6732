"""Whether the order of a sequence's steps matters to a model with attention."""

from typing import Any

import torch
from torch import Tensor, nn

from undertow.remedies.anatomy import run_loss
from undertow.tape.tensors import tensors_in
from undertow.training import Training, random_numbers_kept

FEWEST = 4
"""Steps that a sequence needs: two change places; the first and the last, of which one may be read, stay."""

CLOSE = 1e-4


def placeless(model: nn.Module, training: Training, examples: int) -> int | None:
    """Return the axis of the steps if it makes no difference which stands where between the first and the last.

    Args:
        model: that is trained.
        training: what it is called by.
        examples: of a batch.

    Returns:
        None if the order matters, or nobody can tell.
    """
    calls: list[tuple[Any, Any]] = []
    handle = model.register_forward_pre_hook(lambda _, given, named: calls.append((given, named)), with_kwargs=True)
    try:
        run_loss(model, training)
        return _compared(model, *calls[0], examples) if calls else None
    except Exception:  # whatever a user's model may raise on steps in another order
        return None
    finally:
        handle.remove()


def _compared(model: nn.Module, given: Any, named: Any, examples: int) -> int | None:
    tensors = [each for each in tensors_in((*given, *named.values())) if each.ndim > 1]
    if not tensors:
        return None
    sizes = tensors[0].shape[:2]
    axis = 1 if sizes[0] == examples else 0
    if sizes[1 - axis] != examples or sizes[axis] < FEWEST:
        return None
    order = _mixed(sizes[axis])

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor) and value.shape[:2] == sizes:
            return value.index_select(axis, order.to(value.device))
        return type(value)(moved(each) for each in value) if type(value) in (list, tuple) else value

    kept = _output(model, given, named)
    other = _output(model, moved(given), {name: moved(value) for name, value in named.items()})
    same = _alike(kept, other) or _alike(moved(kept), other)
    return axis if same and not torch.equal(moved(tensors[0]), tensors[0]) else None


def _mixed(steps: int) -> Tensor:
    """Return an order in which all steps but the first and the last are turned round."""
    inner = torch.arange(1, steps - 1).flip(0)
    return torch.cat([torch.zeros(1, dtype=torch.int64), inner, torch.tensor([steps - 1])])


def _output(model: nn.Module, given: Any, named: Any) -> Tensor:
    mode = model.training
    model.eval()
    try:
        with torch.no_grad(), random_numbers_kept():
            torch.manual_seed(0)
            return tensors_in(model(*given, **named))[0]
    finally:
        model.train(mode)


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=CLOSE, atol=CLOSE * float(one.abs().max()))

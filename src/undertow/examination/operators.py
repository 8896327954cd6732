"""The Jacobian that carries a model's gradient from one module back to another, known only by what it does.

Nothing is written out: a product with it is autograd's vjp, one with its transpose the derivative of that (the jvp). So
`undertow.theory.product` finds its largest singular values by Lanczos with an error bound, its typical gain, and how
the real gradient lies to its singular directions, of models of any size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from undertow.examination.passes import ComputeLoss
from undertow.examination.surroundings import eager
from undertow.examination.untouched import Untouched
from undertow.theory.singular import linear_operator

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Carried:
    """Stand for what lies between the outputs of two modules, for a whole batch.

    Attributes:
        operator: [n_front, n_back], takes a gradient at ``back`` to the gradient at ``front`` that comes through it.
        received: the real gradient of the loss at ``back``, [n_back].
        passed_on: the same at ``front``, [n_front]: ``operator @ received``, unless there are ways around ``back``.
    """

    operator: LinearOperator
    received: Array
    passed_on: Array


def between(model: nn.Module, compute_loss: ComputeLoss, front: str, back: str) -> Carried:
    """The operator that the backward pass applies between two modules of a model.

    The model is left as it was. Compiled models run eagerly; fused attention runs unfused, as it has no second
    derivative.

    Args:
        model: in the mode to look at it in.
        compute_loss: computes the loss and returns it, as for `examine`.
        front: path of the module whose output is nearer to the input.
        back: path of the one nearer to the loss.

    Raises:
        ValueError: no such module, one that wasn't run or that returns no single tensor, or no way from ``back`` to
            ``front``.

    Example:
        >>> from undertow.theory import product
        >>> _ = torch.manual_seed(0)
        >>> net, x = nn.Sequential(*[nn.Linear(30, 30) for _ in range(3)]), torch.randn(8, 30)
        >>> found = between(net, lambda: net(x).square().mean(), front="0", back="2")
        >>> found.operator.shape, bool(np.allclose(found.operator @ found.received, found.passed_on, atol=1e-6))
        ((240, 240), True)
        >>> gains = product.operator_gains(found.operator)
        >>> gains.typical < gains.worst
        True
    """
    modules = dict(model.named_modules())
    for path in (front, back):
        if path not in modules:
            raise ValueError(f"the model has no module {path!r}; there are: {', '.join(filter(None, modules))[:300]}")
    untouched = Untouched(model)
    with untouched, untouched:
        untouched.begin()  # before anything else is set, as it is what is put back
        with torch.enable_grad(), eager(), sdpa_kernel(SDPBackend.MATH):
            with _own_buffers(model), _outputs(modules[front], modules[back]) as found:
                loss = untouched.interruptible(compute_loss)()
            start, end = (_output(found, modules[path], path) for path in (front, back))
            received = _gradient(loss, end, f"the loss doesn't depend on the output of {back!r}")
            passed_on = _gradient(loss, start, f"the loss doesn't depend on the output of {front!r}")
            operator = _operator(start, end, f"no gradient gets from the output of {back!r} back to that of {front!r}")
            untouched.check()
    return Carried(operator, received, passed_on)


@contextmanager
def _own_buffers(model: nn.Module) -> Iterator[None]:
    """The graph lives on, and holds its buffers: give it some that nobody puts back to what they were."""
    kept = [(module, name, buffer) for module in model.modules() for name, buffer in module._buffers.items()]
    for module, name, buffer in kept:
        module._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for module, name, buffer in kept:
            module._buffers[name] = buffer


@contextmanager
def _outputs(*modules: nn.Module) -> Iterator[dict[int, Any]]:
    found: dict[int, Any] = {}

    def keep(module: nn.Module, _inputs: object, output: Any) -> None:
        found[id(module)] = output

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _output(found: dict[int, Any], module: nn.Module, path: str) -> Tensor:
    output = found.get(id(module))
    if output is None:
        raise ValueError(f"the module {path!r} was not run")
    if not isinstance(output, Tensor) or not output.requires_grad:
        raise ValueError(f"the module {path!r} doesn't return a single tensor that takes gradient")
    return output


def _gradient(of: Tensor, by: Tensor, otherwise: str) -> Array:
    (found,) = torch.autograd.grad(of, by, retain_graph=True, allow_unused=True)
    if found is None:
        raise ValueError(otherwise)
    return _numbers(found)


def _operator(start: Tensor, end: Tensor, otherwise: str) -> LinearOperator:
    dual = torch.zeros_like(end, requires_grad=True)
    (linear,) = torch.autograd.grad(end, start, dual, create_graph=True, allow_unused=True)
    if linear is None:
        raise ValueError(otherwise)

    def vjp(g: Array) -> Array:
        (found,) = torch.autograd.grad(end, start, _like(g, end), retain_graph=True)
        return _numbers(found)

    def jvp(v: Array) -> Array:
        (found,) = torch.autograd.grad(linear, dual, _like(v, start), retain_graph=True, allow_unused=True)
        return np.zeros(end.numel()) if found is None else _numbers(found)

    return linear_operator((start.numel(), end.numel()), vjp, jvp)


def _like(numbers: Array, tensor: Tensor) -> Tensor:
    return torch.as_tensor(numbers, dtype=tensor.dtype, device=tensor.device).view_as(tensor)


def _numbers(tensor: Tensor) -> Array:
    return tensor.detach().double().cpu().numpy().ravel()

"""Tensors that take gradient in the loss and are no parameters of the model: who they are."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.tape.graph import passed_over, reached
from undertow.tape.ops import PRODUCTS, RESHAPES, op_name

Fact = dict[str, Any]
Node = Any

DEPTH = 4
"""Lists within dictionaries within lists: how far a model's attributes are searched."""


def describe_leaves(
    model: nn.Module, leaves: Sequence[Tensor], loss: Tensor, optimizers: Sequence[Optimizer], given: Collection[int]
) -> list[Fact]:
    """Say of every leaf that takes gradient what it is, as JSON values.

    Args:
        model: whose attributes are searched for them.
        leaves: as the tape found them.
        loss: the scalar; its graph must not be freed yet.
        optimizers: they may hold them.
        given: ``id`` of tensors that the model was called with.

    Returns:
        For each ``name`` (empty where the model doesn't have it), the type it is ``kept in``, ``shape``, whether it is
        a ``parameter`` by its type, whether an optimizer holds it (``stepped``), whether it works as a ``weight`` and
        whether it was an ``argument`` of the model.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> net.extra = [nn.Linear(2, 1)]
        >>> loss = net.extra[0](net(__import__("torch").ones(3, 2))).sum()
        >>> [leaf["name"] for leaf in describe_leaves(net, list(net.extra[0].parameters()), loss, (), ())]
        ['extra[0].weight', 'extra[0].bias']
    """
    held = _attributes(model) if leaves else {}
    stepped = {id(p) for each in optimizers for group in each.param_groups for p in group["params"]}
    weights = _used_as_weights(loss, {id(leaf) for leaf in leaves}) if leaves else set()
    return [
        {
            "name": held.get(id(leaf), ("", ""))[0],
            "kept in": held.get(id(leaf), ("", ""))[1],
            "shape": list(leaf.shape),
            "parameter": isinstance(leaf, nn.Parameter),
            "stepped": id(leaf) in stepped,
            "weight": id(leaf) in weights,
            "argument": id(leaf) in given,
        }
        for leaf in leaves
    ]


def _attributes(model: nn.Module) -> dict[int, tuple[str, str]]:
    """Return tensors that a model's modules hold outside of their registers, by ``id``: where, and in what type."""
    found: dict[int, tuple[str, str]] = {}
    for path, module in model.named_modules():
        registers = ("_parameters", "_buffers", "_modules")
        for name, value in vars(module).items():
            if name in registers or name.startswith(("_forward", "_backward", "_state_dict", "_load_state")):
                continue
            for place, tensor in _inside(value, f"{path}.{name}" if path else name, DEPTH):
                found.setdefault(id(tensor), (place, type(value).__name__))
    return found


def _inside(value: Any, place: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, nn.Module):
        for name, parameter in value.named_parameters():
            yield f"{place}.{name}", parameter
    elif depth and isinstance(value, dict):
        for key, each in value.items():
            yield from _inside(each, f"{place}[{key!r}]", depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from _inside(each, f"{place}[{number}]", depth - 1)


def _used_as_weights(loss: Tensor, leaves: Collection[int]) -> set[int]:
    """Leaves that are multiplied with data, or added to it: the other factor is no leaf with gradient of its own."""
    found: set[int] = set()
    for node in reached(loss.grad_fn):
        sources = [source for source, _ in node.next_functions]
        for slot, source in enumerate(sources):
            leaf = leaf_behind(source)
            others = [leaf_behind(each) for n, each in enumerate(sources) if n != slot]
            if leaf is not None and id(leaf) in leaves and _weighs(node, leaf, slot, others):
                found.add(id(leaf))
    return found


def _weighs(node: Node, leaf: Tensor, slot: int, others: Sequence[Tensor | None]) -> bool:
    op = op_name(node.name())
    if op in PRODUCTS:
        return all(other is None for other in others)
    if op not in ("mul", "add", "sub", "div") or any(other is not None for other in others):
        return False
    # One for several: a recurrent layer's first state is as large as what it is multiplied with.
    return _shape(node, leaf) != _shape(node.next_functions[slot][0], leaf)


def _shape(node: Node, leaf: Tensor) -> tuple[int, ...]:
    metadata = getattr(node, "_input_metadata", ())
    if hasattr(node, "variable") or not metadata or metadata[0] is None:
        return tuple(leaf.shape)
    return tuple(map(int, metadata[0].shape))


def leaves_of(loss: Tensor) -> list[Tensor]:
    """Return every tensor that the gradient of a loss ends in.

    Example:
        >>> import torch
        >>> w = torch.ones(2, requires_grad=True)
        >>> [leaf is w for leaf in leaves_of((2 * w).sum())]
        [True]
    """
    return [node.variable for node in reached(loss.grad_fn) if hasattr(node, "variable")]


def leaf_behind(node: Node) -> Tensor | None:
    """Return the leaf whose numbers a Node hands on in another shape; None if it computes something."""
    return getattr(passed_over(node, RESHAPES), "variable", None)

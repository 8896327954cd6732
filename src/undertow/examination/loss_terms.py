"""The terms that a loss is the sum of, and the gradient that each of them sends to the parameters they share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from undertow.examination.sources import SourceFinder
from undertow.tape.graph import reached
from undertow.tape.ops import PRODUCTS, RECURRENT, op_name

Node = Any
Fact = dict[str, Any]

MOST_TERMS = 8
OF_A_SPREAD = frozenset({"exp", "log", "softplus"})
"""What a divergence from a prior makes of the spread that a network returns."""


@dataclass(frozen=True)
class Term:
    """One summand of a loss: its value, the constant that it was multiplied by, and its line of source."""

    value: Tensor
    factor: float
    source: str


def terms_of(loss: Tensor, scalars: Mapping[Node, Tensor], lines: SourceFinder) -> list[Term]:
    """Split a loss at the additions next to it.

    Args:
        loss: a scalar.
        scalars: tensors of one element that were computed on the way, by their Node.
        lines: knows which line a Node came from.

    Returns:
        The terms whose own tensor is known, as they are added up (a constant that the whole sum is multiplied by left
        out), those made of parameters alone left out; empty if there are fewer than two.

    Example:
        >>> from undertow.examination.forward_facts import ForwardFacts
        >>> w = torch.ones(2, requires_grad=True)
        >>> with ForwardFacts() as seen:
        ...     loss = (w @ torch.ones(2, 1)).sum() + 0.1 * (w @ torch.ones(2, 1)).square().sum()
        >>> [round(term.factor, 3) for term in terms_of(loss, seen.scalars, seen)]
        [1.0, 0.1]
    """
    found: list[Term] = []
    split = False  # what all terms are multiplied by, before, says nothing of any of them
    waiting: list[tuple[Node, float]] = [(loss.grad_fn, 1.0)]
    while waiting and len(found) <= MOST_TERMS:
        node, factor = waiting.pop(0)
        sources = [source for source, _ in node.next_functions if source is not None]
        op = op_name(node.name())
        if op in ("add", "sub") and len(sources) > 1:
            split = True
            waiting += [(source, factor) for source in sources]
        elif op in ("add", "sub", "neg", "mul", "div", "view", "squeeze", "unsqueeze") and len(sources) == 1:
            waiting.append((sources[0], factor * _constant(node, op) if split else 1.0))
        elif op in ("sum", "mean") and len(sources) == 1 and op_name(sources[0].name()) in ("stack", "cat"):
            split = True
            waiting += [(source, factor) for source, _ in sources[0].next_functions if source is not None]
        elif node in scalars and _depends_on_data(node):
            number = node._sequence_nr()
            found.append(Term(scalars[node], abs(factor), lines.line_of(number)))
    return found if 2 <= len(found) <= MOST_TERMS else []


def _constant(node: Node, op: str) -> float:
    if op not in ("mul", "div"):
        return 1.0
    other = getattr(node, "_saved_other", None)
    if not isinstance(other, Tensor) or other.numel() != 1:
        return 1.0
    value = abs(float(other))
    return value if op == "mul" else 1 / value if value else 1.0


def _depends_on_data(node: Node) -> bool:
    """Tell whether layers lie behind it: a penalty on the weights has none."""
    return any(_is_layer(op) for op in _operations(node))


def _has_a_spread(node: Node) -> bool:
    return any(op in OF_A_SPREAD for op in _operations(node))


def _is_layer(op: str) -> bool:
    return op in PRODUCTS or op in RECURRENT or op.startswith("embedding")


def _operations(node: Node) -> Iterator[str]:
    """Yield the operations behind a Node, up to the nearest layers and those."""
    for each in reached(node, lambda each: not _is_layer(op_name(each.name()))):
        yield op_name(each.name())


def gradients_of(terms: Sequence[Term], parameters: Mapping[str, nn.Parameter], noisy: bool = False) -> list[Fact]:
    """Backpropagate every term by itself, and take the gradient's norm at the parameters that two terms or more reach.

    Args:
        terms: of one loss.
        parameters: by name.
        noisy: whether noise was drawn on the way, as for a sampled latent code.

    Returns:
        For each term its ``value``, ``factor``, ``gradient`` (the norm, at what it shares with another term),
        ``alone`` (whether it shares nothing), ``prior`` (whether it looks like a latent code's divergence from its
        prior: it reaches a part of what another term does, through a spread) and ``source``. The graph is kept.
    """
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    each = [
        torch.autograd.grad(term.value, list(trained.values()), retain_graph=True, allow_unused=True) for term in terms
    ]
    shared = [sum(g is not None for g in column) > 1 for column in zip(*each, strict=True)]
    reached = [frozenset(n for n, g in enumerate(gradients) if g is not None) for gradients in each]
    facts = []
    for number, (term, gradients) in enumerate(zip(terms, each, strict=True)):
        inner = noisy and any(reached[number] < other for other in reached)
        mine = [g for g, common in zip(gradients, shared, strict=True) if g is not None and common]
        norm = torch.stack([g.detach().double().norm() for g in mine]).norm().item() if mine else 0.0
        value = term.value.item() * term.factor
        facts.append(
            {
                "value": value,
                "factor": term.factor,
                "gradient": norm * term.factor,
                "alone": not mine,
                "prior": inner and _has_a_spread(term.value.grad_fn),
                "source": term.source,
            }
        )
    return [f for f in facts if _is_finite(f["value"]) and _is_finite(f["gradient"])]


def _is_finite(value: Any) -> bool:
    return bool(value - value == 0)

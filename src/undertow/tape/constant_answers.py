"""Compute a loss with one answer for all examples: the level of having learned nothing of the inputs."""

import torch
from torch import Tensor

from undertow.measure import Meter
from undertow.tape.facts import saved
from undertow.tape.graph import Node

CLASSES = frozenset({"nll_loss", "nll_loss2d"})
BINARY = "binary_cross_entropy_with_logits"
SQUARES = "mse_loss"
CONSTANT_ANSWERS = CLASSES | {BINARY, SQUARES}
"""Losses that save their targets, and whose best constant answer is known in closed form."""

BY_WEIGHT = 10.0
"""Times that weights raise the odds of a class, from which on it is they that let it outweigh the others."""

ENOUGH_A_CLASS = 4
"""Targets for each class, from which on a batch tells how frequent the classes are."""


def measure_constant_answer(site: int, op: str, node: Node, meter: Meter) -> None:
    """Take the loss of the best answer that is the same for every example, as far as this batch tells.

    For cross-entropy that is the entropy of the classes' frequencies (with Miller and Madow's correction: a batch has
    less of it than the data), for squares the targets' variance at every place of the output.

    Args:
        site: the loss's.
        op: its name.
        node: of its backward pass, while it runs.
        meter: takes ``constant loss``, of classes ``commonest``, the share of the most frequent one, and of classes
            that are given weights ``outweighs``; nothing where the targets are too few to tell.

    Example:
        >>> from undertow.tape import Tape
        >>> net, x, y = torch.nn.Linear(3, 1), torch.ones(4, 3), torch.tensor([[1.0], [1.0], [3.0], [3.0]])
        >>> with Tape(net, Meter(inflow=True)) as tape:
        ...     loss = torch.nn.functional.mse_loss(net(x), y)
        ...     _ = tape.attach(loss)
        ...     loss.backward()
        >>> round(tape.run().columns["constant_loss"][0, 0].item(), 3)  # n / (n - 1), as of a sample
        1.333
    """
    target = saved(node, "target")
    if target is None or not target.numel():
        return
    if op in CLASSES:
        _of_classes(site, node, target, meter)
    elif op == BINARY:
        _of_truths(site, node, target, meter)
    elif _is_given(node) and target.dim() and len(target) > 1:
        meter.take("constant loss", site, target.float().var(0).mean())


def _is_given(node: Node) -> bool:
    """Tell whether the second side of a difference takes no gradient, as targets do."""
    sources = [source for source, _ in node.next_functions[:2]]
    return len(sources) == 2 and sources[0] is not None and sources[1] is None


def _of_classes(site: int, node: Node, target: Tensor, meter: Meter) -> None:
    logs = saved(node, "self")
    if logs is None or target.is_floating_point() or logs.dim() < 2 or target.dim() != logs.dim() - 1:
        return
    classes = logs.shape[1]
    if target.numel() < ENOUGH_A_CLASS * classes:
        return
    flat = target.flatten()
    counted = ((flat >= 0) & (flat < classes)).float()  # others are left out (ignore_index)
    many = torch.zeros(classes, device=flat.device).scatter_add_(0, flat.clamp(0, classes - 1), counted)
    weight = saved(node, "weight")
    weighed = many if weight is None else many * weight.float()
    entropy = torch.special.entr(weighed / weighed.sum()).sum()
    missing = ((many > 0).sum() - 1) / (2 * many.sum())
    meter.take("constant loss", site, entropy + missing)
    meter.take("commonest", site, many.max() / many.sum())
    if weight is not None:
        heaviest = weighed.argmax()
        meter.take("outweighs", site, _sway(weighed[heaviest], weighed.sum(), many[heaviest], many.sum()))


def _of_truths(site: int, node: Node, target: Tensor, meter: Meter) -> None:
    if target.dim() < 1 or len(target) < 2 * ENOUGH_A_CLASS:
        return
    given = saved(node, "pos_weight")
    right = target.float().mean(0) * (1.0 if given is None else given.float())
    wrong = 1 - target.float().mean(0)
    both = right + wrong
    if given is not None:
        meter.take("outweighs", site, _sway(right, both, target.float().mean(0), torch.ones_like(right)).median())
    meter.take(
        "constant loss", site, (both * (torch.special.entr(right / both) + torch.special.entr(wrong / both))).mean()
    )


def _sway(weighed: Tensor, whole: Tensor, many: Tensor, all_of_them: Tensor) -> Tensor:
    """Return how many times a class outweighs all others together; 0 where it does so by how frequent it is."""
    odds, natural = weighed / (whole - weighed), many / (all_of_them - many)
    return torch.where(odds >= BY_WEIGHT * natural, odds, 0.0).nan_to_num(0.0)

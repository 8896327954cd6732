"""Find what an output is held against: read from the Node of the loss that saved both."""

import math

from torch import Tensor

from undertow.measure import Meter
from undertow.operations import REGRESSION_LOSSES, SOFTMAXES
from undertow.tape.class_axes import softmax_behind
from undertow.tape.constant_answers import CONSTANT_ANSWERS, measure_constant_answer
from undertow.tape.facts import saved
from undertow.tape.graph import Node
from undertow.tape.output_range import last_operation, nearest

REGRESSIONS = REGRESSION_LOSSES - {"l1_loss"}  # whose difference autograd takes as any other
"""Losses that save output and target; of a difference that a user takes autograd keeps neither."""

CLASSIFIES = frozenset({"nll_loss", "nll_loss2d"})

MEETS_TARGETS = REGRESSIONS | CLASSIFIES | SOFTMAXES | CONSTANT_ANSWERS
"""Operations of a loss that are looked into."""


def measure_what_is_met(site: int, op: str, node: Node, meter: Meter) -> None:
    """Take whatever a loss's operation shows of its targets, and the axis of a softmax.

    Args:
        site: the operation's.
        op: its name, one of `MEETS_TARGETS`.
        node: of its backward pass, while it runs.
        meter: takes it; of targets nothing unless it asks for what comes in.
    """
    if op in SOFTMAXES:
        meter.note("softmax axis", site, axis_of(node))
    if op in CLASSIFIES:
        note_class_axis(site, node, meter)
    if not meter.inflow:
        return
    if op in REGRESSIONS:
        measure_targets(site, node, meter)
    if op in CLASSIFIES:
        measure_surprise(site, node, meter)
    if op in CONSTANT_ANSWERS:
        measure_constant_answer(site, op, node, meter)


def note_class_axis(site: int, node: Node, meter: Meter) -> None:
    """Note the axis of the softmax in front of a likelihood along which the classes lie, if there is a softmax.

    Args:
        site: nll_loss's.
        node: of its backward pass, while it runs.
        meter: takes it.
    """
    logs = saved(node, "self")
    behind = None if logs is None or logs.dim() < 2 else softmax_behind(node.next_functions[0][0], logs.shape)
    if behind is not None:
        meter.note("softmax axis", site, behind[1])


def axis_of(node: Node) -> int:
    """Return the axis that a softmax is taken along, counted from the front.

    Example:
        >>> import torch
        >>> axis_of(torch.ones(2, 3, requires_grad=True).softmax(-1).grad_fn)
        1
    """
    axis, axes = int(node._saved_dim), int(node._saved_result.dim()) if saved(node, "result") is not None else 0
    return axis if 0 <= axis < 1 << 32 else (axis - (1 << 64 if axis > 0 else 0)) % max(axes, 1)


def measure_targets(site: int, node: Node, meter: Meter) -> None:
    """Take mean and spread of a loss's targets, the output's size, and how much of the targets it can't reach.

    Args:
        site: the loss's.
        node: of its backward pass, while it runs.
        meter: takes ``target mean``, ``target spread``, ``output size`` and, where the output's last operation has
            limits, ``target missed``, the root mean square of what lies beyond them.

    Example:
        >>> import torch
        >>> from undertow.tape import Tape
        >>> net, x, y = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.ReLU()), torch.ones(4, 3), -torch.ones(4, 1)
        >>> with Tape(net, Meter(inflow=True)) as tape:
        ...     loss = torch.nn.functional.mse_loss(net(x), y)
        ...     _ = tape.attach(loss)
        ...     loss.backward()
        >>> run = tape.run()
        >>> [run.columns[name][0, 0].item() for name in ("target_mean", "target_missed")]
        [-1.0, 1.0]
    """
    output, target = saved(node, "self"), saved(node, "target")
    sources = [source for source, _ in node.next_functions[:2]]
    if output is None or target is None or len(sources) < 2 or (sources[0] is None) == (sources[1] is None):
        return
    if sources[0] is None:
        output, target = target, output
    if not target.is_floating_point() or not target.numel():
        return
    wanted = target.float()
    meter.take("target mean", site, wanted.mean())
    meter.take("target spread", site, wanted.std(correction=0))
    meter.take("output size", site, output.float().square().mean().sqrt())
    missed = _missed(wanted, next(source for source in sources if source is not None))
    if missed is not None:
        meter.take("target missed", site, missed.square().mean().sqrt())


def measure_surprise(site: int, node: Node, meter: Meter) -> None:
    """Take how wrong a classifier is: mean -log p of the right class / log of the number of classes, 1 at chance.

    Args:
        site: nll_loss's.
        node: of its backward pass, while it runs.
        meter: takes ``surprise`` and notes ``classes``; nothing of targets that aren't classes.

    Example:
        >>> import torch
        >>> from undertow.tape import Tape
        >>> net, x, y = torch.nn.Linear(3, 4, bias=False), torch.zeros(5, 3), torch.zeros(5, dtype=torch.long)
        >>> with Tape(net, Meter(inflow=True)) as tape:
        ...     loss = torch.nn.functional.cross_entropy(net(x), y)
        ...     _ = tape.attach(loss)
        ...     loss.backward()
        >>> round(float(tape.run().columns["surprise"][0, 0]), 3)
        1.0
    """
    logs, target = saved(node, "self"), saved(node, "target")
    if logs is None or target is None or target.is_floating_point() or not target.numel():
        return
    if logs.dim() < 2 or logs.dim() != target.dim() + 1 or logs.shape[1] < 2:
        return
    classes = logs.shape[1]
    counted = (target >= 0) & (target < classes)  # others are left out (ignore_index)
    right = logs.gather(1, target.clamp(0, classes - 1)[:, None])[:, 0].float()
    meter.take("surprise", site, -(right * counted).sum() / (counted.sum() * math.log(classes)))
    meter.note("classes", site, classes)


def _missed(wanted: Tensor, node: Node) -> Tensor | None:
    last = last_operation(node)
    within = None if last is None else nearest(last, wanted)
    return None if within is None else wanted - within

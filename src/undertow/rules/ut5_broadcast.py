"""UT504: an output and a target of different shapes, which meet as a matrix."""

import math
from collections.abc import Iterator, Sequence

from undertow.diagnosis import Diagnosis
from undertow.operations import DIFFERENCES, REGRESSION_LOSSES
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.losses import shapes_matched
from undertow.rules.registry import Blocks, rule


@rule(
    "UT504",
    "broadcast against the target",
    explains=("UT101", "UT104", "UT105", "UT108", "UT202", "UT205", "UT401", "UT704"),
    blocks_converged=Blocks.BEFORE,
)
def broadcast(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Output and target have different shapes and meet as a matrix.

    What:
        An output of shape [n, 1] minus a target of shape [n] is a matrix [n, n]: every output is held against every
        target.
    Why it is bad:
        The mean over the matrix is smallest where every output is the mean of all targets. The loss falls at first
        and then stays at the targets' variance; nothing tells the examples apart.
    Evidence:
        ``blown up``: elements of the difference per element of the output.
    Threshold:
        A difference larger than both sides, in which one axis of the target met another axis of the output, of the
        same size, in front of the loss; where shapes of both sides are known, their numbers of axes differ.
        A difference of two things that both learn, with as many axes each, is a pairwise loss: none.
    What to do:
        Bring the target into the output's shape (``target.unsqueeze(1)``, or ``output.squeeze(1)``), and check
        ``output.shape == target.shape`` in the loop.
    References:
        PyTorch documentation, broadcasting semantics; the warning of mse_loss ("Using a target size that is
        different to the input size").
    """
    run = diagnosis.run
    found = _by_shapes(run) if "pairs" in run.header else _by_sites(diagnosis)
    if found is None:
        return
    output, target, met, source, both = found
    blown = math.prod(met) / max(math.prod(output), 1)
    against = f"a target of shape {target}" if target else "a target of another shape"
    text = (
        f"An output of shape {output} meets {against}, and broadcasting makes {met} of them: it looks like every "
        f"output is held against the targets of all {max(met)} examples. The best that can be learned so is one answer "
        "for all, their mean."
    )
    sites = tuple(s.index for s in run.sites if list(s.shape) == met and not diagnosis.depth[s.index])[:1]
    severity = Severity.WARNING if both else Severity.ERROR
    limit = "output and target that are smaller than their difference"
    where = run.sites[sites[0]].name if sites else "the loss"
    numbers = {"blown up": blown}
    equation = "mean_ij (o_i - t_j)^2 = mean_i (o_i - mean t)^2 + var t"
    made = Finding("UT504", "broadcast target", severity, sites, where, text, numbers, limit, equation, source=source)
    yield shapes_matched(output, target, both).on(made)


Met = tuple[list[int], list[int], list[int], str, bool]


def _by_shapes(run: Run) -> Met | None:
    for pair in run.header["pairs"]:
        output, target, met = pair["shapes"]
        if len(output) == len(target) or not output or not target:
            continue
        if pair["both learn"] and pair["op"] not in REGRESSION_LOSSES | DIFFERENCES:
            continue
        grown = math.prod(met) > max(math.prod(output), math.prod(target))
        if grown and _crossed(output, met):
            return output, target, met, pair["source"], pair["both learn"]
    return None


def _by_sites(diagnosis: Diagnosis) -> Met | None:
    """Find it in a graph alone, where nobody saw the target: that takes no gradient, so that it has no Site."""
    run = diagnosis.run
    for site in run.sites:
        receivers = [run.sites[run.edges[edge].target] for edge in run.outgoing[site.index]]
        if diagnosis.depth[site.index] or site.role is not Role.LOSS or len(receivers) != 1 or not _meets(run, site):
            continue
        output, met = list(receivers[0].shape), list(site.shape)
        if math.prod(met) > math.prod(output) and (_crossed(output, met) or _crossed_behind_a_view(output, met)):
            return output, _likely_target(output, met), met, site.source, False
    return None


def _likely_target(output: Sequence[int], met: Sequence[int]) -> list[int]:
    """Return the shape of a target that nobody saw: the output's without its last axis of one; empty if it isn't that.

    Example:
        >>> _likely_target([64, 1], [64, 64]), _likely_target([1, 64], [64, 64])
        ([64], [])
    """
    rest = list(output[:-1])
    fits = len(met) == len(output) > 1 and output[-1] == 1 and list(met[-len(rest) :]) == rest
    return rest if fits else []


def _crossed_behind_a_view(output: Sequence[int], met: Sequence[int]) -> bool:
    """Tell the same of a layer's output [n t, 1] that a view made [n, t, 1] of: a graph has no Site of that.

    All axes of the difference but one make up the output, and that one is as long as another.
    """
    return len(met) > len(output) and any(
        math.prod(met) == math.prod(output) * size and list(met).count(size) > 1 for size in met if size > 1
    )


def _meets(run: Run, site: Site) -> bool:
    """Tell whether it is a difference, or what mse_loss and its like expand before they take one."""
    givers = [run.sites[run.edges[edge].source].op for edge in run.incoming[site.index]]
    return site.op == "sub" or (
        site.op == "expand" and bool(givers) and set(givers) <= REGRESSION_LOSSES | {"sub", "abs"}
    )


def _crossed(output: Sequence[int], met: Sequence[int]) -> bool:
    """Tell whether an axis of the difference that the output doesn't fill is as long as one that it does."""
    padded = [1] * (len(met) - len(output)) + list(output)
    filled = {size for size, own in zip(met, padded, strict=True) if own == size > 1}
    return any(own == 1 and size > 1 and size in filled for size, own in zip(met, padded, strict=True))

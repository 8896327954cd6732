"""UR4xx, level D: functions at the edge of where they are defined, and losses that are infinite for some examples."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from undertow.diagnosis import Diagnosis
from undertow.remedies.facts import known_facts
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import ReplacingLoss
from undertow.training import Training

TINY = 1e-12
LARGEST = 60.0
"""Of what an exponential is given: exp(60) is 1e26, and its square still a number in float32."""

INSIDE = 1e-6


@remedy("UR411", "roots, logarithms and quotients kept off their edges", "D", ["UT103", "UT405"])
def off_zero(training: Training) -> Training:
    """Keep what roots, logarithms, quotients and exponentials are given where they and their slopes are numbers.

    What it changes:
        While the loss is computed, roots and logarithms are given at least 1e-12, quotients are divided by no less,
        exponentials are given at most 60, arc sines and cosines what lies within -1 and 1.
    When:
        The loss or its gradient is no number: the slope of a root at 0 is infinite, and infinity times 0 isn't one,
        even where the loss itself is.
    Predicts:
        The gradient is finite; where the argument was off the edge, it is 0.
    References:
        Gulrajani et al. 2017 (the gradient penalty), whose norm has no slope at 0; PyTorch issue 2534.
    """
    return ReplacingLoss.around(training, _OFF_ZERO)


def _at_least(func: Any, x: Any, *rest: Any, **named: Any) -> Any:
    return func(x.clamp(min=TINY), *rest, **named) if _floating(x) else func(x, *rest, **named)


def _at_most(func: Any, x: Any, *rest: Any, **named: Any) -> Any:
    return func(x.clamp(max=LARGEST), *rest, **named) if _floating(x) else func(x, *rest, **named)


def _within(func: Any, x: Any, *rest: Any, **named: Any) -> Any:
    return func(x.clamp(INSIDE - 1, 1 - INSIDE), *rest, **named) if _floating(x) else func(x, *rest, **named)


def _quotient(func: Any, x: Any, *rest: Any, **named: Any) -> Any:
    if not rest or not _floating(rest[0]):
        return func(x, *rest, **named)
    below = rest[0]
    return func(x, below.where(below.abs() > TINY, torch.full_like(below, TINY)), *rest[1:], **named)


def _below(func: Any, x: Any, *rest: Any, **named: Any) -> Any:
    return func(x.where(x.abs() > TINY, torch.full_like(x, TINY)), *rest, **named)


def _power(func: Any, x: Any, *rest: Any, **named: Any) -> Any:
    exponent = rest[0] if rest else named.get("exponent")
    bent = isinstance(exponent, float) and exponent < 1 and _floating(x)
    return func(x.clamp(min=TINY), *rest, **named) if bent else func(x, *rest, **named)


def _floating(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


_OFF_ZERO: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("sqrt", "sqrt_", "rsqrt", "log", "log_", "log2", "log10", "reciprocal"), _at_least),
    **dict.fromkeys(("div", "divide", "true_divide", "__truediv__", "div_"), _quotient),
    **dict.fromkeys(("__rtruediv__", "__rdiv__"), _below),
    **dict.fromkeys(("acos", "arccos", "asin", "arcsin", "atanh", "arctanh"), _within),
    **dict.fromkeys(("pow", "__pow__"), _power),
    **dict.fromkeys(("exp", "exp_", "expm1"), _at_most),
}
EDGED = frozenset(_OFF_ZERO) - {"div", "divide", "true_divide", "__truediv__", "div_"}
"""Those that are seldom called without need."""


def lost(diagnosis: Diagnosis) -> bool:
    """Tell whether the loss, or a gradient, is no number, at the start or in the training that was watched."""
    fell = known_facts(diagnosis).get("fell")
    gone = fell is not None and math.isnan(fell)
    return gone or not diagnosis.finite or any(finding.code == "UT103" for finding in diagnosis.findings)


@off_zero.proposes
def _proposed_edges(diagnosis: Diagnosis) -> Iterator[Proposal]:
    called = sorted(EDGED & set(known_facts(diagnosis).get("survey", {}).get("calls", ())))
    if lost(diagnosis):
        told = f"; it calls {', '.join(called[:3])}" if called else ""
        yield Proposal({}, f"the loss or its gradient is no number{told}", 0.9 if called else 0.5)


@off_zero.written
def _edges_lines() -> str:
    return "# in the loss: torch.sqrt(x.clamp(min=1e-12)), torch.log(x.clamp(min=1e-12)), and y / x likewise"


@remedy("UR412", "examples whose CTC loss is infinite left out", "D", ["UT103"])
def finite_ctc(training: Training) -> Training:
    """Leave out examples whose targets are longer than the frames that the network leaves.

    What it changes:
        ``zero_infinity`` of ``ctc_loss``.
    When:
        One target that doesn't fit makes the loss infinite and every gradient nan.
    Predicts:
        The loss is that of the examples that fit.
    References:
        Graves et al. 2006 (connectionist temporal classification); PyTorch documentation, CTCLoss, zero_infinity.
    """
    return ReplacingLoss.around(training, {"ctc_loss": _finite})


def _finite(func: Any, *given: Any, **named: Any) -> Any:
    return func(*given[:6], **{**named, "zero_infinity": True})


@finite_ctc.proposes
def _proposed_ctc(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if "ctc_loss" in known_facts(diagnosis).get("survey", {}).get("calls", ()):
        yield Proposal(
            {}, "a target that is longer than its frames has an infinite loss", 0.95 if lost(diagnosis) else 0.3
        )


@finite_ctc.written
def _ctc_lines() -> str:
    return "# in the loss: F.ctc_loss(..., zero_infinity=True); and less pooling along time, so that targets fit"


@remedy("UR416", "steps that pass the gradient straight through", "D", ["UT109", "UT501", "UT704"])
def straight_through(training: Training) -> Training:
    """Let the gradient pass a rounding as if nothing were rounded.

    What it changes:
        ``round``, ``floor``, ``ceil``, ``trunc`` and ``sign`` give what they gave, with the slope of what goes in.
    When:
        Something is rounded between the parameters and the loss: a step has no slope but 0, and nothing in front of it
        learns.
    Predicts:
        Parameters in front of it are reached.
    References:
        Bengio, Léonard, Courville 2013 (straight-through estimators).
    """
    return ReplacingLoss.around(training, _STRAIGHT)


def _straight(func: Any, x: Any, *rest: Any, **named: Any) -> Any:
    made = func(x, *rest, **named)
    return x + (made - x).detach() if _floating(x) and x.requires_grad else made


_STRAIGHT = dict.fromkeys(("round", "floor", "ceil", "trunc", "sign", "sgn"), _straight)


@straight_through.proposes
def _proposed_straight(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if called := sorted(set(_STRAIGHT) & set(known_facts(diagnosis).get("survey", {}).get("calls", ()))):
        found = any(finding.code in ("UT109", "UT501", "UT704") for finding in diagnosis.findings)
        yield Proposal({}, f"{called[0]} has no slope but 0", 0.95 if found else 0.5)


@straight_through.written
def _straight_lines() -> str:
    return "# in forward(), in place of y = x.round(): y = x + (x.round() - x).detach()"

"""UT705: targets that the output's last operation can't reach."""

from collections.abc import Iterator, Mapping
from typing import Any

from undertow.diagnosis import Diagnosis
from undertow.operations import spoken
from undertow.record import Finding, Severity
from undertow.rules.advice.losses import limits_lifted
from undertow.rules.met_data import pairs
from undertow.rules.registry import rule
from undertow.wording import size

FLOOR_ABOVE = 0.02
FLOOR_OF_AN_ERROR = 0.5
AS_BATCHES_VARY = 0.25
"""Part of the variance by which a batch of standardised targets may miss mean 0 and spread 1."""


@rule(
    "UT705",
    "out of reach",
    first_step_only=True,
    explains=("UT101", "UT104", "UT109", "UT201", "UT202", "UT205", "UT408", "UT704"),
)
def out_of_reach(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The output's last operation can't reach the targets.

    What:
        The output ends in ReLU, sigmoid, tanh, softmax or a clamp, and some of the targets it is held against lie
        beyond what that can return.
    Why it is bad:
        No training makes up for it: the loss can't come under what is missing, and as the outputs are driven to
        their limit the gradient dies there.
    Evidence:
        ``out of reach``: share of the targets; ``floor``: the part of their variance that is left when every output
        is as near as it can come; ``low`` and ``high``, the limits; ``smallest`` and ``largest`` target. `examine` sees
        every difference of an output and a target; a watched run the floor alone, and of losses that save both (MSE,
        smooth L1, Huber).
    Threshold:
        A floor over 2 % of the variance: warning; over half of it, as when predicting their mean would be nearly as
        good: error. Targets at the limits (0 and 1 behind a sigmoid) count as reached, and a limit in the middle of
        an output that is scaled or shifted afterwards is none. A batch norm without weights of its own at the end
        holds outputs at mean 0 and spread 1: a floor under a quarter of the variance is none, as batches vary.
    What to do:
        End in a linear layer, scale the targets into the limits, or the limits to the targets.
    References:
        Goodfellow, Bengio, Courville 2016, section 6.2.2 (output units); Bishop 2006, section 5.1.
    """
    worst = max((p for p in pairs(diagnosis) if _floor(p) > FLOOR_ABOVE), key=_floor, default=None)
    if worst is not None:
        yield _finding(diagnosis, worst)


def _floor(pair: Mapping[str, Any]) -> float:
    """Return the mean square of what is missing, as a part of the targets' variance."""
    if "last" not in pair:
        return 0.0
    target = pair["target"]
    size = target["spread"] ** 2 or target["mean"] ** 2
    floor = float(pair["last"]["missed"] / size) if size else 0.0
    return 0.0 if "batch_norm" in pair["last"]["op"] and floor < AS_BATCHES_VARY else floor


def _limits(last: Mapping[str, Any]) -> str:
    """Say what an operation can return, where that is known."""
    if "batch_norm" in last["op"]:
        return ", which holds it at mean 0 and spread 1"
    if last.get("low") is not None and last.get("high") is not None:
        return f" and is between {last['low']:g} and {last['high']:g}"
    sides = [f"{last['low']:g} or more"] if last.get("low") is not None else []
    sides += [f"{last['high']:g} or less"] if last.get("high") is not None else []
    return f" and is {' and '.join(sides)}" if sides else ""


def _beyond(pair: Mapping[str, Any]) -> str:
    target, part = pair["target"], pair["last"].get("out of reach")
    if part is None:  # a watched run knows mean and spread alone
        return (
            f"targets of mean {size(target['mean'])} and spread {size(target['spread'])} lie beyond what it can return"
        )
    return (
        f"{part:.0%} of the targets, which go from {size(target['smallest'])} to {size(target['largest'])}, lie beyond"
    )


def _finding(diagnosis: Diagnosis, pair: Mapping[str, Any]) -> Finding:
    last, floor = pair["last"], _floor(pair)
    text = (
        f"The output ends in {spoken(last['op'])}{_limits(last)}, but {_beyond(pair)}: {min(floor, 1):.0%} of their "
        "variance is out of reach."
    )
    known = {"out of reach": last.get("out of reach"), "low": last.get("low"), "high": last.get("high")}
    known |= {name: pair["target"].get(name) for name in ("smallest", "largest")}
    numbers = {"floor": floor, **{name: float(value) for name, value in known.items() if value is not None}}
    sites = tuple(s.index for s in diagnosis.run.sites if s.op == last["op"] and not diagnosis.depth[s.index])[:1]
    where = diagnosis.name(sites[0]) if sites else spoken(last["op"])
    severity = Severity.ERROR if floor >= FLOOR_OF_AN_ERROR else Severity.WARNING
    limit = f"more than {FLOOR_ABOVE:.0%} of the targets' variance beyond the output's limits"
    equation = "min over o in [low, high] of (o - t)^2 = (t - clip(t))^2"
    source = pair["source"]
    found = Finding("UT705", "out of reach", severity, sites, where, text, numbers, limit, equation, source=source)
    site = diagnosis.run.sites[sites[0]] if sites else None
    return limits_lifted(diagnosis.run, site, str(last["op"]), last.get("low"), last.get("high")).on(found)

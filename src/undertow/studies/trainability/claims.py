"""The paper's claims, in our words, beside what these networks did."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from undertow.formatting import percent
from undertow.pytorch_code import spelled
from undertow.studies.study import Claim, Judged, Results, verdict
from undertow.studies.trainability.config import TRAINED
from undertow.theory.meanfield import TRAINABLE

Array = NDArray[np.float64]

NOWHERE = math.log(10)
"""The loss of a network of ten classes that says nothing about its input."""


def sides(field: Mapping[str, Any]) -> tuple[float, float]:
    """Return the share of a map's settings that trained within 6 ξ_c, and beyond it.

    Example:
        >>> sides({"train_accuracy": np.array([[[0.9]], [[0.1]]]), "depth": [5, 50], "expected": np.array([20.0])})
        (1.0, 0.0)
    """
    trained, within, known = _sorted(field)
    return _share(trained, known & within), _share(trained, known & ~within)


def agreement(field: Mapping[str, Any]) -> float:
    """The share of a map's settings that train within 6 ξ_c or don't beyond it, of those of which theory says anything.

    Example:
        >>> agreement({"train_accuracy": np.array([[[0.9]], [[0.8]]]), "depth": [5, 50], "expected": np.array([20.0])})
        0.5
    """
    trained, within, known = _sorted(field)
    return float((trained == within)[known].mean())


def _sorted(field: Mapping[str, Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return of every setting whether it trained, whether it lies within 6 ξ_c, and whether there is a ξ_c."""
    trained = np.asarray(field["train_accuracy"], dtype=float).mean(-1) >= TRAINED
    reach = np.asarray(field["expected"], dtype=float)
    within = np.array(field["depth"])[:, None] <= reach
    return trained, within, np.broadcast_to(~np.isnan(reach), trained.shape)


def factors(field: Mapping[str, Any], epoch: int = -1) -> Array:
    """Depth reached over ξ_c, for each weight variance at which the map's depths hold the end.

    After all training, or after an epoch (from 0) by the validation images. The end lies between the deepest that trained and the next depth tried; the geometric middle is taken.

    Example:
        >>> field = {"depth": [5, 20, 80], "deepest": [5.0, 80.0, 0.0], "expected": [12.0, 600.0, 2.0]}
        >>> factors(field).tolist()
        [5.0]
    """
    depth = list(field["depth"])
    found = []
    deepest = field["deepest"] if epoch < 0 else field["deepest_by_epoch"][epoch]
    for reached, reach in zip(deepest, field["expected"], strict=True):
        if reached and reached < depth[-1] and np.isfinite(reach) and reach < depth[-1]:
            following = depth[depth.index(reached) + 1]
            found.append(TRAINABLE * math.sqrt(reached * following) / reach)
    return np.array(found)


def _line(results: Results) -> Judged:
    shares = {spelled(name): sides(field) for name, field in results["maps"].items()}
    agree = float(np.mean([agreement(field) for field in results["maps"].values()]))
    told = "; ".join(f"{name}: {percent(a)} within, {percent(b)} beyond" for name, (a, b) in shares.items())
    all_the_way = all(within >= 0.8 and beyond <= 0.1 for within, beyond in shares.values())
    return (
        f"settings that trained, {told}; of all settings {percent(agree)} are as the rule says",
        verdict(all_the_way, agree >= 0.7),
    )


def _factor(results: Results) -> Judged:
    found = {spelled(name): factors(field) for name, field in results["maps"].items()}
    told = "; ".join(
        f"{name}: {np.median(f):.1f} ξ_c (from {f.min():.1f} to {f.max():.1f})" if f.size else f"{name}: not to be said"
        for name, f in found.items()
    )
    medians = [float(np.median(f)) for f in found.values() if f.size]
    near = [TRAINABLE / 1.5 <= median <= TRAINABLE * 1.5 for median in medians]
    return (
        f"depth reached, away from the critical variance, {told}",
        verdict(bool(medians) and all(near), any(near)),
    )


def _critical(results: Results) -> Judged:
    told, close = [], []
    for name, field in results["maps"].items():
        if field["critical"] is None:
            continue
        variances, reached = np.array(field["weight_var"], dtype=float), np.asarray(field["deepest"], dtype=float)
        best = variances[reached == reached.max()]
        told.append(
            f"{spelled(name)}: {reached.max():.0f} layers at {_span(best)}, critical at {field['critical']:.3g}"
        )
        close.append(bool(np.min(np.abs(np.log(best / field["critical"]))) <= math.log(1.5)))
    return (
        "; ".join(told),
        verdict(bool(close) and all(close), any(close)),
    )


def _elsewhere(results: Results) -> Judged:
    """The order of depths reached along the variances is the order of 6 ξ_c."""
    found = {}
    for name, field in results["maps"].items():
        found[spelled(name)] = rank_correlation(field, field["deepest"])
    worst = min(found.values())
    return (
        "rank correlation of the depth reached and 6 ξ_c, " + ", ".join(f"{n}: {r:.2f}" for n, r in found.items()),
        verdict(worst >= 0.8, worst >= 0.5),
    )


def _phases(results: Results) -> Judged:
    """On the ordered side nothing moves; beyond the line there the loss stays that of guessing."""
    still = []
    for field in results["maps"].values():
        if field["critical"] is None:
            continue
        loss = np.asarray(field["loss"], dtype=float).mean(-1)  # NaN, so no stillness, where one diverged
        ordered = np.array(field["weight_var"]) < field["critical"]
        beyond = np.array(field["depth"])[:, None] > 2 * np.asarray(field["expected"], dtype=float)
        still.append(np.abs(loss - NOWHERE)[beyond & ordered] < 0.05)
    share = float(np.concatenate(still).mean()) if still else float("nan")
    return (
        f"of the settings more than twice as deep as 6 ξ_c there, {percent(share)} end with the loss of guessing, "
        f"ln 10 = {NOWHERE:.2f}, within 0.05",
        verdict(share >= 0.9, share >= 0.6),
    )


def lost_losses(field: Mapping[str, Any], phase: Literal["ordered", "chaotic"]) -> Array:
    """Mean training losses of a map's settings beyond 6 ξ_c on one side of its critical variance; finite ones only.

    Example:
        >>> field = {"loss": [[[2.3], [2.4]]], "depth": [9], "expected": [2.0, 3.0], "weight_var": [1, 3], "critical": 2}
        >>> lost_losses(field, "ordered").tolist(), lost_losses(field, "chaotic").tolist()
        ([2.3], [2.4])
    """
    loss = np.asarray(field["loss"], dtype=float).mean(-1)
    critical = np.inf if field["critical"] is None else field["critical"]
    ordered = np.array(field["weight_var"]) < critical
    beyond = np.array(field["depth"])[:, None] > np.asarray(field["expected"], dtype=float)
    lost: Array = loss[beyond & (ordered if phase == "ordered" else ~ordered)]
    return lost[np.isfinite(lost)]


def rank_correlation(field: Mapping[str, Any], reached: Any) -> float:
    """Return the rank correlation of depths reached and 6 ξ_c along a map's weight variances, as far as its depths go.

    Example:
        >>> field = {"depth": [5, 20], "expected": [3.0, 10.0, 900.0], "deepest": [0.0, 5.0, 20.0]}
        >>> round(rank_correlation(field, field["deepest"]), 9)
        1.0
    """
    reach = np.minimum(np.asarray(field["expected"], dtype=float), max(field["depth"]))
    known = ~np.isnan(reach)
    from scipy import stats  # only where claims are judged

    return float(stats.spearmanr(reach[known], np.asarray(reached, dtype=float)[known]).statistic)


def _share(trained: NDArray[np.bool_], where: NDArray[np.bool_]) -> float:
    return float(trained[where].mean()) if where.any() else float("nan")


def _span(values: Array) -> str:
    return f"{values.min():g}" if len(values) == 1 else f"{values.min():g} to {values.max():g}"


CLAIMS = [
    Claim(
        "Networks train where a signal gets through them, which is up to a depth of about 6 ξ_c, and not beyond", _line
    ),
    Claim("The factor is 6, and the same for different variances", _factor),
    Claim("The deepest networks that train are those close to the critical variance", _critical),
    Claim("The depth that trains rises and falls with ξ_c along the variance", _elsewhere),
    Claim("On the ordered side the gradient vanishes: beyond the depth scale nothing is learned", _phases),
]
"""The paper's claims in our words, each with the rule that judges it."""

"""The assumptions of the rules' severities, beside what these networks did."""

from collections.abc import Iterator
from itertools import pairwise

from undertow.formatting import percent
from undertow.rules.consequences import ADAPTIVE, ANY, PLAIN, Outcome
from undertow.studies.study import Claim, Judged, Results, verdict

FEWEST = 10
"""Networks without which nothing is said."""


def outcomes(results: Results, code: str, kind: str = ANY, optimizer: str = ANY) -> list[Outcome]:
    """Return the table's rows of a code, kind and optimizer, by amount."""
    rows = (Outcome(**row) for row in results["outcomes"])
    return [row for row in rows if (row.code, row.kind, row.optimizer) == (code, kind, optimizer)]


def share_learned(rows: list[Outcome], low: float, high: float) -> float:
    """Return the share of the networks with an amount between two bounds that learned; NaN if there are none."""
    within = [row for row in rows if low <= row.low and row.high <= high]
    networks = sum(row.networks for row in within)
    return sum(row.learned for row in within) / networks if networks else float("nan")


def _fades(results: Results) -> Judged:
    rows = outcomes(results, "UT101")
    much, little = share_learned(rows, -100, -4), share_learned(rows, -1.3, 0)
    measured = f"{percent(much)} of those that lose four decades or more learned, {percent(little)} of those under 1.3"
    return measured, verdict(much <= 0.2 and little >= 0.8, much < little)


def _kinds(results: Results) -> Judged:
    flat, small = (share_learned(outcomes(results, "UT101", kind), -4, -2) for kind in ("activation", "weights"))
    measured = f"between two and four decades {percent(flat)} with flat activations learned, {percent(small)} with small weights"
    return measured, verdict(flat <= small - 0.2, flat < small)


def _adaptive(results: Results) -> Judged:
    plain, adaptive = (
        share_learned(outcomes(results, "UT101", ANY, optimizer), -5, -2) for optimizer in (PLAIN, ADAPTIVE)
    )
    measured = f"between two and five decades {percent(plain)} learned under SGD, {percent(adaptive)} under Adam"
    return measured, verdict(adaptive >= plain + 0.2, adaptive > plain)


def _steady(results: Results) -> Judged:
    shares = [row.learned / row.networks for row in _large(outcomes(results, "UT101"))]
    rises = sum(later >= earlier - 0.1 for earlier, later in pairwise(shares))
    steps = max(len(shares) - 1, 1)
    return f"it does from {rises} of {steps} rows of the table to the next", verdict(
        rises == steps, rises >= 0.7 * steps
    )


def _explodes(results: Results) -> Judged:
    much = share_learned(outcomes(results, "UT102"), 2.5, 100)
    return f"{percent(much)} of those that gain two and a half decades or more learned", verdict(
        much <= 0.2, much < 0.5
    )


def _large(rows: list[Outcome]) -> Iterator[Outcome]:
    return (row for row in rows if row.networks >= FEWEST)


CLAIMS = (
    Claim("A gradient that has faded over depth keeps a network from learning", _fades),
    Claim("The same loss is worse where flat activations make it than where small weights do", _kinds),
    Claim("An adaptive optimizer bears more of it", _adaptive),
    Claim("A gradient that has grown over depth keeps a network from learning, too", _explodes),
    Claim("The less is lost, the more networks learn, at every step of the table", _steady),
)

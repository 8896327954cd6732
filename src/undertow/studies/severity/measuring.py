"""Amounts beside outcomes: what became of the networks with this much of a fault, row by row of the table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from undertow.rules.consequences import ADAPTIVE, ANY, PLAIN, Outcome
from undertow.studies.severity.config import EDGES, RATES, Settings, SeverityConfig, twin
from undertow.studies.study import Job

OPTIMIZERS = {"sgd": PLAIN, "adam": ADAPTIVE}
WITH_KINDS = ("UT101", "UT301")
"""Rules that tell flat activations from small weights."""


@dataclass(frozen=True)
class Trained:
    """A network at one learning rate beside its twin at the same.

    Attributes:
        amounts: as `undertow.studies.severity.examining.amounts` says.
        optimizer: "plain" or "adaptive".
        learned, after: whether it learned, and the steps it took (the budget, if it didn't).
        twin_learned, twin_after: the same of its twin.
    """

    amounts: Mapping[str, Any]
    optimizer: str
    learned: bool
    after: int
    twin_learned: bool
    twin_after: int

    @property
    def counts(self) -> bool:
        """Tell whether the task can be learned at this rate at all, by the network or its twin."""
        return self.learned or self.twin_learned

    @property
    def twice(self) -> bool:
        """Tell whether the twin needed at most half the steps."""
        return self.twin_learned and (not self.learned or 2 * self.twin_after <= self.after)


def measure(job: Job) -> dict[str, Any]:
    """Train and examine all networks as two sweeps, and count outcomes; an interrupted run goes on where it stopped."""
    config: SeverityConfig = replace(job.config, seed=job.seed)
    outcomes = job.sweep(config.training(), "trained.sweep")
    examined = job.sweep(config.examining(), "examined.sweep")
    trained = list(paired(config, outcomes.rows(), examined.rows()))
    return {
        "networks": len(list(config.networks())),
        "trained": len(outcomes.rows()),
        "pairs": len(trained),
        "counted": sum(each.counts for each in trained),
        "seconds": outcomes.seconds() + examined.seconds(),
        "outcomes": [asdict(row) for row in rows(trained)],
    }


def paired(
    config: SeverityConfig, outcomes: Iterable[Mapping[str, Any]], examined: Iterable[Mapping[str, Any]]
) -> Iterator[Trained]:
    """Put each network's amounts, its outcome and its twin's side by side, at every learning rate."""
    by_rate = {(_key(row), row["rate"]): row for row in outcomes}
    found = {_key(row): row for row in examined}
    for network in config.networks():
        for rate in RATES[network["optimizer"]]:
            one, other = by_rate.get((_key(network), rate)), by_rate.get((_key(twin(network)), rate))
            if one and other and _key(network) in found:
                amounts, optimizer = found[_key(network)], OPTIMIZERS[network["optimizer"]]
                yield Trained(amounts, optimizer, one["learned"], one["after"], other["learned"], other["after"])


NAMES = ("data", "kind", "depth", "activation", "start", "norm", "residual", "steps", "optimizer", "seed")
"""What tells one network from another."""


def _key(settings: Settings) -> tuple[Any, ...]:
    return tuple(settings[name] for name in NAMES)


def rows(trained: Sequence[Trained]) -> Iterator[Outcome]:
    """Count outcomes by code, kind, optimizer and amount: every row that has networks in it."""
    for code, edges in EDGES.items():
        having = [each for each in trained if each.counts and each.amounts.get(code) is not None]
        for kind in (ANY, "activation", "weights") if code in WITH_KINDS else (ANY,):
            for optimizer in (ANY, PLAIN, ADAPTIVE):
                same = [
                    each
                    for each in having
                    if kind in (ANY, each.amounts.get("fault")) and optimizer in (ANY, each.optimizer)
                ]
                for low, high in pairwise(edges):
                    within = [each for each in same if low <= each.amounts[code] < high]
                    if within:
                        yield _row(code, kind, optimizer, low, high, within)


def _row(code: str, kind: str, optimizer: str, low: float, high: float, within: Sequence[Trained]) -> Outcome:
    speedup = float(np.median([each.after / each.twin_after for each in within]))
    learned, twice = sum(each.learned for each in within), sum(each.twice for each in within)
    return Outcome(code, kind, optimizer, low, high, len(within), learned, twice, round(speedup, 2))

"""Check somebody's results.json on this machine: draw the same weights, train one network of each kind again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from undertow.formatting import counted
from undertow.lab import Dataset, load
from undertow.studies.chapter5.config import BATCH_SIZE, ETA, HIDDEN, LMBDA, network
from undertow.studies.chapter5.storage import read
from undertow.studies.chapter5.training import digests
from undertow.studies.environment import DECIDES_BITS, environment
from undertow.studies.experiments import Task, Tick, run_all

CHECKED_MEMBER = 0
POINTS = 0.01
"""How far the retrained network's accuracy may lie from the recorded one."""


@dataclass(frozen=True)
class Recomputed:
    """One thing checked.

    Attributes:
        what: in words.
        holds: whether it came out as recorded; None where it can't be expected here.
        detail: numbers, or why not.

    Example:
        >>> print(Recomputed("1 hidden layer: initial weights", True, "8 of 8 members"))
        ok           1 hidden layer: initial weights (8 of 8 members)
    """

    what: str
    holds: bool | None
    detail: str

    def __str__(self) -> str:
        mark = {True: "ok", False: "DIFFERS", None: "not compared"}[self.holds]
        return f"{mark:<12} {self.what} ({self.detail})"


def check(folder: Path, data_name: str, console: Console, processes: int | None = None) -> list[Recomputed]:
    """Recompute what can be recomputed quickly.

    Initial weights must have the recorded sums exactly. One member of each network, trained alone, must come within a
    point of its recorded accuracy; its bits are compared only where the recorded run had one member too and the
    libraries, the processor's capabilities and the number of threads are the recorded ones.

    Raises:
        FileNotFoundError, ValueError: see `storage.read`; ValueError too where the data are not the recorded ones.
    """
    recorded = read(folder)
    data = load(data_name)
    if data.sha256 != recorded["data"]["sha256"]:
        raise ValueError(
            f"recorded with the data set {recorded['data']['name']}, sha256 {recorded['data']['sha256'][:12]}...; "
            f"{data_name} has {data.sha256[:12]}...: say which data with --data"
        )
    epochs = len(recorded["accuracy"]["1"]["validation"][0])
    arguments = {"seed": recorded["seed"], "epochs": epochs}
    tasks = [Task(str(h), _retrain, epochs, {"hidden": h, **arguments}) for h in reversed(HIDDEN)]
    retrained = run_all(tasks, data_name, console, processes)
    return [
        verdict
        for h in HIDDEN
        for verdict in (
            _initial(recorded, data, h),
            _accuracy(recorded, retrained[str(h)], h),
            _bits(recorded, retrained[str(h)], h),
        )
    ]


def _retrain(data: Dataset, tick: Tick, /, *, hidden: int, seed: int, epochs: int) -> dict[str, Any]:
    nets = network(data, hidden, 1, seed, first_member=CHECKED_MEMBER)
    nets.train((data.train.x, data.train.y), epochs, BATCH_SIZE, ETA, LMBDA, on_epoch=lambda _epoch: tick(1))
    accuracy = nets.accuracy(data.validation.x, data.validation.y).item()
    return {"accuracy": accuracy, "sha256": digests(nets)[0]}


def _initial(recorded: dict[str, Any], data: Dataset, hidden: int) -> Recomputed:
    sums = recorded["accuracy"][str(hidden)]["initial_sha256"]
    mine = digests(network(data, hidden, len(sums), recorded["seed"]))
    same = sum(a == b for a, b in zip(sums, mine, strict=True))
    return Recomputed(f"{_name(hidden)}: initial weights", same == len(sums), f"{same} of {len(sums)} members")


def _accuracy(recorded: dict[str, Any], mine: dict[str, Any], hidden: int) -> Recomputed:
    theirs = recorded["accuracy"][str(hidden)]["validation"][CHECKED_MEMBER][-1]
    if theirs is None:
        return Recomputed(f"{_name(hidden)}: accuracy of one member", None, "recorded as not finite")
    detail = f"{100 * mine['accuracy']:.2f} % here, {100 * theirs:.2f} % recorded"
    return Recomputed(f"{_name(hidden)}: accuracy of one member", abs(mine["accuracy"] - theirs) <= POINTS, detail)


def _bits(recorded: dict[str, Any], mine: dict[str, Any], hidden: int) -> Recomputed:
    what = f"{_name(hidden)}: trained weights"
    here, there = environment(), recorded["environment"]
    other = [key for key in DECIDES_BITS if here[key] != there.get(key)]
    if recorded["members"] != 1:
        return Recomputed(what, None, "float32 bits depend on how many members run side by side; one ran here")
    if other:
        return Recomputed(what, None, f"recorded with another {', '.join(other)}")
    same = mine["sha256"] == recorded["accuracy"][str(hidden)]["final_sha256"][0]
    return Recomputed(what, same, "bit for bit")


def _name(hidden: int) -> str:
    return counted(hidden, "hidden layer")

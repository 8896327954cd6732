"""``kill -9`` at random moments of writing a Run: does every file open, is every step whole, and how much is lost?

    python benchmarks/kills.py            # 200 kills, about five minutes

Half of them with SQLite's write-ahead log, half with its rollback journal; every file is gone on with and killed again
until it has been killed four times. The moment is drawn anew for each: within two seconds of the first step or, for one
in four, of the start of the process, when the file is being made.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from killing import kill, start, whole_steps  # found through the line above

IN_A_ROW = 4


def trial(path: Path, journal: str, after: float, begun: bool) -> tuple[int, float] | None:
    """One kill: how many steps are there, and seconds between the last of them and the kill; None: before the first."""
    killed, told = kill(start(path, journal), after, begun)
    if not path.exists():
        return None
    steps, last = whole_steps(path)
    assert all(steps >= there for there in told[::2]), "a step that was on disk is gone"
    return (steps, killed - max(last, told[1])) if len(told) > 1 else None


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    rng, lost, early, steps = np.random.default_rng(given.seed), [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.kills):
            journal = ("wal", "rollback")[number // IN_A_ROW % 2]
            found = trial(
                Path(folder, f"{number // IN_A_ROW}.undertow"), journal, rng.uniform(0, 2), rng.random() > 0.25
            )
            if found is None:
                early += 1
            else:
                steps, lost = steps + found[0], [*lost, found[1]]
    print(
        f"{given.kills} kills, {early} of them before the first step; every file opened, {steps} steps read, all whole"
    )
    print(f"lost: {np.median(lost):.2f} s (median), {np.max(lost):.2f} s (most)")


if __name__ == "__main__":
    main()

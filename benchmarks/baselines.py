"""What others would have done for the clinic's broken trainings, judged as the doctor is: on the same fresh seeds.

python benchmarks/baselines.py [NAME...]   those whose broken and mended scores clinic.json has; into baselines.json
python benchmarks/baselines.py --equal     each may take the processor time that the doctor took; into the same file

- random: twelve remedies, one or two at a time, drawn without looking; each trained once, the best is kept;
- fixed order: AUTOTRAINER's way (Zhang et al., ICSE 2021): a sign is looked for in one run, its remedies are tried in a
  fixed order, one run each, and the first after which no sign is left counts as the repair;
- rate and Adam: AdamW at 1e-4, 1e-3, 1e-2 and 1e-1, each trained once, the best is kept.

With as much time as the doctor, remedies are drawn at random until `DRAWING` of it is over, and the best of these are
trained on more seeds; AdamW is tried at `RATES`, each on one more seed as long as there is time. A fixed order ends by
itself: it has no use for more.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from torch import Tensor

from clinic import ALL_FRESH, BASELINES, RESULTS, all_patients, scores
from undertow.remedies import Remedy, apply
from undertow.training import Training, Trial

RACE_SEED, DRAWS = 0, 12
Arm = tuple[Remedy, ...]

DRAWING, LEADERS = 0.7, 5
RATES = (1e-3, 1e-2, 1e-4, 3e-3, 1e-1, 3e-2, 1e-5, 3e-4, 1.0, 3e-1, 3e-5)

POOL: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("UR101", {"factor": factor}) for factor in (0.01, 0.1, 10.0, 100.0)),
    *(("UR102", {"lr": lr}) for lr in (1e-3, 1e-2)),
    *(("UR201", {"activation": name}) for name in ("relu", "tanh")),
    *(("UR301", {"to": name}) for name in ("relu", "tanh", "leaky_relu")),
    *((code, {}) for code in ("UR103", "UR104", "UR107", "UR108", "UR110", "UR111", "UR112", "UR113", "UR115", "UR202",
                              "UR203", "UR204", "UR205", "UR302", "UR303", "UR304", "UR308", "UR309", "UR310", "UR314",
                              "UR401", "UR402", "UR403", "UR404", "UR405", "UR408", "UR409", "UR410", "UR411")),
)  # fmt: skip

FIXED: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "vanishing": (("UR301", {"to": "elu"}), ("UR302", {}), ("UR201", {})),
    "exploding": (("UR301", {"to": "elu"}), ("UR302", {}), ("UR103", {}), ("UR201", {})),
    "dying": (("UR302", {}), ("UR301", {"to": "elu"}), ("UR201", {})),
    "unstable": (("UR102", {}), ("UR101", {"factor": 0.1})),
    "slow": (("UR102", {}), ("UR101", {"factor": 10.0}), ("UR201", {})),
}
"""Remedies in the order in which they are tried, by sign; ELU stands for the SELU of the original."""

NONE, GONE, OFTEN, POOR = 1e-3, 0.7, 0.3, 0.6
"""Front gradient over that of the head that has vanished; share of gradients at zero that is dead; share of steps at
which the loss rises by a tenth that is unstable; score under which nothing has converged: those of the original."""


def sign_of(training: Training, trial: Trial) -> str:
    """Return what is wrong with a trial, as a fixed order looks for it; empty if nothing is."""
    if trial.diverged is not None or not np.isfinite(trial.losses).all():
        return "exploding"
    gradients = [g for g in _gradients(training, trial) if g.ndim > 1]
    norms = [float(g.norm()) for g in gradients]
    dead = sum(float((g == 0).sum()) for g in gradients) / max(1, sum(g.numel() for g in gradients))
    poor = trial.score < POOR
    if poor and norms and norms[0] < NONE * norms[-1]:
        return "vanishing"
    if poor and dead > GONE:
        return "dying"
    rises = np.diff(trial.losses) > 0.1 * np.abs(trial.losses[:-1])
    if poor and float(rises.mean()) > OFTEN:
        return "unstable"
    return "slow" if poor else ""


def _gradients(training: Training, trial: Trial) -> list[Tensor]:
    assert trial.model is not None  # it was trained here
    trial.model.zero_grad()
    training.loss(trial.model.train(), training.sample(1)[0]).backward()
    return [p.grad for p in trial.model.parameters() if p.grad is not None]


def tried(arm: Arm, training: Training, seed: int = RACE_SEED) -> tuple[Training, Trial] | None:
    """Train once with some remedies; None where they don't fit."""
    try:
        treated = apply(arm, training)
        return treated, treated.run(seed, scored=1)
    except Exception:  # a remedy that doesn't fit is no repair
        return None


def best_of(arms: Iterable[Arm], training: Training, most: int) -> Arm:
    """Return the best of the first arms that fit, () if none is better than nothing."""
    best, reached, made = (), training.run(RACE_SEED, scored=1).score, 0
    for arm in arms:
        found = tried(arm, training)
        made += found is not None
        if found is not None and found[1].score > reached:
            best, reached = arm, found[1].score
        if made >= most:
            break
    return best


def at_random(training: Training) -> Arm:
    """Draw remedies without looking."""
    draws = random.Random(0)  # noqa: S311  # nothing secret
    arms = (tuple(Remedy(*each) for each in draws.sample(POOL, draws.choice((1, 2)))) for _ in range(5 * DRAWS))
    return best_of(arms, training, DRAWS)


def rate_and_adam(training: Training) -> Arm:
    """Look for a rate of Adam's."""
    return best_of(((Remedy("UR102", {"lr": lr}),) for lr in (1e-4, 1e-3, 1e-2, 1e-1)), training, 4)


def in_fixed_order(training: Training) -> tuple[Arm, bool]:
    """Try a sign's remedies in order; return the first after which no sign is left, and whether there was one."""
    sign = sign_of(training, training.run(RACE_SEED, scored=1))
    for each in FIXED.get(sign, ()):
        arm = (Remedy(*each),)
        found = tried(arm, training)
        if found is not None and not sign_of(*found):
            return arm, True
    return (), False


class Clock:
    """Tells whether a share of some processor time is left.

    Args:
        seconds: that there are.
    """

    def __init__(self, seconds: float) -> None:
        self.began, self.seconds = time.process_time(), seconds

    def left(self, share: float = 1.0) -> bool:
        """Tell whether that share isn't over yet."""
        return time.process_time() - self.began < share * self.seconds


def on_more_seeds(reached: dict[Arm, list[float]], training: Training, clock: Clock) -> Arm:
    """Train arms on a seed after the other as long as there is time; return the best by the worst of its scores."""
    for seed in range(1, 100):
        for arm in reached:
            if clock.left() and (found := tried(arm, training, seed)) is not None:
                reached[arm].append(found[1].score)
        if not clock.left():
            break
    return max(reached, key=lambda arm: min(reached[arm]))


def random_in(seconds: float, training: Training) -> Arm:
    """Draw remedies without looking, as many as there is time for, and see the best again."""
    clock, draws = Clock(seconds), random.Random(0)  # noqa: S311  # nothing secret
    reached: dict[Arm, list[float]] = {(): [training.run(RACE_SEED, scored=1).score]}
    while clock.left(DRAWING):
        arm = tuple(Remedy(*each) for each in draws.sample(POOL, draws.choice((1, 2))))
        found = None if arm in reached else tried(arm, training)
        if found is not None:
            reached[arm] = [found[1].score]
    best = sorted(reached, key=lambda arm: -reached[arm][0])[:LEADERS]
    return on_more_seeds({arm: reached[arm] for arm in best}, training, clock)


def adam_in(seconds: float, training: Training) -> Arm:
    """Look for a rate of Adam's, on as many seeds as there is time for."""
    clock, reached = Clock(seconds), dict[Arm, list[float]]()
    reached[()] = [training.run(RACE_SEED, scored=1).score]
    for lr in RATES:
        arm = (Remedy("UR102", {"lr": lr}),)
        if clock.left() and (found := tried(arm, training)) is not None:
            reached[arm] = [found[1].score]
    return on_more_seeds(reached, training, clock)


def with_time(training: Training, known: dict[str, Any]) -> dict[str, Any]:
    """Judge those that have a use for as much time as the doctor took."""
    fresh, seconds = ALL_FRESH[: len(known["broken"])], known["seconds"]
    found: dict[str, Any] = {"seconds": seconds}
    for name, arm in (("random", random_in(seconds, training)), ("adam", adam_in(seconds, training))):
        after = scores(apply(arm, training), fresh) if arm else known["broken"]
        found[name] = {"remedies": [str(each.key) for each in arm], "way": _way(after, known), "after": after}
    return found


def compared(training: Training, known: dict[str, Any]) -> dict[str, Any]:
    """Judge all of them on fresh seeds, as far as these were used for the broken and the mended training."""
    fresh = ALL_FRESH[: len(known["broken"])]
    fixed, silent = in_fixed_order(training)
    found: dict[str, Any] = {}
    for name, arm in (("random", at_random(training)), ("fixed", fixed), ("adam", rate_and_adam(training))):
        after = scores(apply(arm, training), fresh) if arm else known["broken"]
        found[name] = {"remedies": [str(each.key) for each in arm], "way": _way(after, known), "after": after}
    found["fixed"]["silent"] = silent
    return found


def _way(after: Sequence[float], known: dict[str, Any]) -> float:
    ill, well = median(known["broken"]), median(known["mended"])
    return (median(after) - ill) / (well - ill)


def told(found: dict[str, Any]) -> str:
    """Return a line about one training."""
    return ", ".join(f"{name} {each['way']:.2f}" for name, each in found.items())


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of names and families; all without")
    parser.add_argument("--equal", action="store_true", help="with as much time as the doctor; the cheapest first")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(RESULTS.read_text())
    found = json.loads(BASELINES.read_text()) if BASELINES.exists() else {}
    everyone = [(f"{patient.family}: {patient.name}", patient) for patient in all_patients()]
    if asked.equal:
        everyone.sort(key=lambda each: known.get(each[0], {}).get("seconds", 0.0))
    for key, patient in everyone:
        entry = known.get(key, {})
        wanted = not asked.names or any(part in key for part in asked.names)
        done = (key not in found or "equal" in found[key]) if asked.equal else key in found
        if not wanted or done or "mended" not in entry or not entry["admitted"]:
            continue
        began = time.process_time()
        if asked.equal:
            found[key]["equal"] = with_time(patient.broken(), entry)
            line = told({name: found[key]["equal"][name] for name in ("random", "adam")})
        else:
            found[key] = compared(patient.broken(), entry)
            line = told(found[key])
        print(f"{key}: {line} ({time.process_time() - began:.0f} s)", flush=True)
        BASELINES.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

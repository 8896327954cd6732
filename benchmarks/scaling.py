"""What an epoch costs against the number of members, hidden layers and examples: a line, if all is well."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rounds import Run, measure, table
from undertow.lab import Dataset, Ensemble

IMAGES = 5_000
ETA, DECAY = 0.1, 5.0 / 50_000
MEMBERS = (1, 2, 4, 8, 16, 32)
HIDDEN_LAYERS = (1, 2, 3, 4, 5, 6, 7, 8)
DATA = (5_000, 10_000, 20_000, 30_000, 40_000, 50_000)


def scaling(data: Dataset, rounds: int) -> dict[str, Any]:
    """Measure all three, print them and return them."""
    epoch = partial(_epoch, data)
    return {
        "members": _sweep("members", {r: epoch(members=r) for r in MEMBERS}, rounds),
        "hidden layers": _sweep("hidden layers", {h: epoch(hidden=h) for h in HIDDEN_LAYERS}, rounds),
        "images": _sweep("images", {n: epoch(images=n) for n in DATA}, rounds),
    }


def _epoch(data: Dataset, members: int = 8, hidden: int = 1, images: int = IMAGES) -> Run:
    nets = Ensemble([784, *[30] * hidden, 10], members)
    examples = data.train.x[:images], nets.targets(data.train.y[:images])

    def run() -> None:
        nets.train(examples, 1, 10, ETA, DECAY * images)

    return run


def _sweep(name: str, epochs: Mapping[int, Run], rounds: int) -> dict[str, Any]:
    times = measure({str(n): run for n, run in epochs.items()}, rounds)
    n, seconds = np.array(list(epochs), float), np.array([times.median(str(n)) for n in epochs])
    # a relative fit: every point counts alike, the small ones too
    each, fixed = np.polyfit(n, seconds, 1, w=1 / seconds)
    off = float(np.abs((fixed + each * n) / seconds - 1).max())
    print(f"\nan epoch against {name}\n")
    print(table([name, *epochs], [["s", *(f"{s:.3f}" for s in seconds)]]))
    print(f"{fixed:.4f} s + {each:.3g} s each; no point lies further than {off:.0%} from this line")
    return {"n": n.tolist(), "seconds": seconds.tolist(), "fixed": float(fixed), "each": float(each), "off": off}

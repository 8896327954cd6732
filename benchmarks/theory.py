"""What theory costs: one χ, a phase diagram, a deep network's spectrum, and what is expected of a model examined.

python benchmarks/theory.py              about half a minute
python benchmarks/theory.py --rounds 5
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rounds import Run, Times, measure, table
from undertow.analysis.theory_check import check_theory
from undertow.examination import examine
from undertow.measure import Meter, measure_parameters
from undertow.tape import Plans, Tape
from undertow.theory import meanfield, product

MOST = {"one chi": 5e-3, "100 x 100 phase diagram": 10.0, "singular values of 20 x 512": 5.0}
"""Seconds that each may take."""

ACTIVATIONS = ("tanh", "gelu", "sigmoid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    times = measure(contenders(), rounds)
    print(table(["what", "asked, s", "median, s", "worst, s"], [row(times, name) for name in times.seconds]))
    beside_examining(rounds)


def contenders() -> dict[str, Run]:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((512, 512)) / 512**0.5 for _ in range(20)]
    z = [rng.standard_normal(512) for _ in range(20)]
    variances = iter(np.linspace(1.2, 2.4, 100_000))  # never the same twice: nothing is remembered
    found: dict[str, Run] = {
        f"one chi, {name}": silent(lambda name=name: meanfield.chi(name, float(next(variances)), 0.05))
        for name in ACTIVATIONS
    }
    grid = np.linspace(0.1, 4, 100), np.linspace(0, 2, 100)[:, None]
    for name in ACTIVATIONS:
        found[f"100 x 100 phase diagram, {name}"] = silent(lambda name=name: meanfield.phase_diagram(name, *grid))
    found["singular values of 20 x 512"] = silent(lambda: product.spectrum(weights, z, "tanh"))
    return found


def silent(work: Callable[[], object]) -> Run:
    def run() -> None:
        work()

    return run


def row(times: Times, name: str) -> list[str]:
    asked = next(limit for start, limit in MOST.items() if name.startswith(start))
    worst = max(times.seconds[name])
    return [name, f"{asked:g}", f"{times.median(name):.5f}", f"{worst:.5f}{' TOO SLOW' if worst > asked else ''}"]


def beside_examining(rounds: int) -> None:
    """What it adds to a taped pass to look at what comes into layers, and to compute what theory expects."""
    rows = []
    for name, (model, compute_loss) in networks().items():
        run, plans = examine(model, compute_loss).run, Plans(model)
        times = measure(
            {
                "pass": partial(taped, model, compute_loss, plans, False),
                "with": partial(taped, model, compute_loss, plans, True),
                "expected": silent(partial(check_theory, run)),
                "examine": silent(partial(examine, model, compute_loss)),
            },
            rounds,
        )
        taken = [f"{times.median(each) * 1e3:.1f}" for each in ("pass", "expected", "examine")]
        rows.append([name, taken[0], f"{times.ratio('with', 'pass'):.3f}", *taken[1:]])
    print("\nlooking at what comes into layers and activations\n")
    print(table(["network", "taped pass, ms", "looking / not", "check_theory(run), ms", "examine, ms"], rows))


def taped(model: nn.Module, compute_loss: Callable[[], Tensor], plans: Plans, inflow: bool) -> None:
    model.zero_grad()
    with Tape(plans, Meter(inflow=inflow)) as tape:
        loss = compute_loss()
        tape.attach(loss)
        loss.backward()
        measure_parameters(dict(model.named_parameters()), None, tape.meter)
        tape.meter.read()


def networks() -> dict[str, tuple[nn.Module, Callable[[], Tensor]]]:
    torch.manual_seed(0)
    return {
        "4 sigmoid layers of 30, 1,000 rows": plain(4, 30, nn.Sigmoid, 1000),
        "20 tanh layers of 256, 256 rows": plain(20, 256, nn.Tanh, 256),
        "50 GELU layers of 64, 64 rows": plain(50, 64, nn.GELU, 64),
        "8 convolutions of 32, 32 pictures": convolutional(8, 32, 32),
    }


def plain(depth: int, width: int, act: type[nn.Module], rows: int) -> tuple[nn.Module, Callable[[], Tensor]]:
    layers = [part for _ in range(depth) for part in (nn.Linear(width, width), act())]
    return with_loss(nn.Sequential(*layers, nn.Linear(width, 10)), torch.randn(rows, width))


def convolutional(depth: int, width: int, rows: int) -> tuple[nn.Module, Callable[[], Tensor]]:
    sizes = [3] + [width] * (depth - 1)
    layers = [part for n in sizes for part in (nn.Conv2d(n, width, 3, padding=1), nn.ReLU())]
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)
    return with_loss(nn.Sequential(*layers, *head), torch.randn(rows, 3, 32, 32))


def with_loss(model: nn.Module, x: Tensor) -> tuple[nn.Module, Callable[[], Tensor]]:
    y = torch.randint(10, (len(x),))
    return model, lambda: functional.cross_entropy(model(x), y)


if __name__ == "__main__":
    main()

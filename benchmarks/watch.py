"""What watching a training run costs: steps with a watcher / steps without, side by side in one run.

    OMP_NUM_THREADS=1 python benchmarks/watch.py            the default, and a tape at every step
    OMP_NUM_THREADS=1 python benchmarks/watch.py --peers    and what others take (pip install 'undertow[peers]')

Times are of the CPU, of all threads: what the writer's thread does counts.
"""

import argparse
import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import undertow
from peers import PEERS
from rounds import measure, table

torch.set_num_threads(1)

Step = Callable[[], object]
Monitor = Callable[[nn.Module, torch.optim.Optimizer, Path], AbstractContextManager[Step | None]]
"""Watches a model; gives what is to be called after each backward pass, if anything is."""


@dataclass(frozen=True)
class Case:
    """A model, its batch, and over how many steps it is timed."""

    name: str
    model: Callable[[], nn.Module]
    loss: Callable[[nn.Module], Tensor]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    steps: int
    limit: float
    limit_every: float


def book() -> nn.Module:
    sizes = [784, 30, 30, 30, 10]
    layers = [each for a, b in itertools.pairwise(sizes) for each in (nn.Linear(a, b), nn.Sigmoid())]
    return nn.Sequential(*layers)


def mlp() -> nn.Module:
    return nn.Sequential(*(each for _ in range(20) for each in (nn.Linear(256, 256), nn.ReLU())), nn.Linear(256, 10))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True, norm_first=True)
    blocks = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    return nn.Sequential(nn.Embedding(1000, 128), blocks, nn.Linear(128, 1000))


X_BOOK, Y_BOOK = torch.rand(10, 784), torch.rand(10, 10)
X_MLP, Y_MLP = torch.randn(128, 256), torch.randint(10, (128,))
TOKENS = torch.randint(1000, (8, 65))


def language_loss(model: nn.Module) -> Tensor:
    return nn.functional.cross_entropy(model(TOKENS[:, :-1]).flatten(0, 1), TOKENS[:, 1:].flatten())


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-4)


CASES = (
    Case("the book's net, batch 10", book, lambda m: (m(X_BOOK) - Y_BOOK).square().mean(), sgd, 2000, 1.02, 3.0),
    Case("MLP 20x256, batch 128", mlp, lambda m: nn.functional.cross_entropy(m(X_MLP), Y_MLP), sgd, 300, 1.02, 1.6),
    Case("6-block transformer", transformer, language_loss, adamw, 100, 1.02, 1.6),
)


@contextlib.contextmanager
def unwatched(*_: object) -> Iterator[None]:
    yield None


def watching(every: int | None) -> Monitor:
    @contextlib.contextmanager
    def watched(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> Iterator[None]:
        with undertow.watch(model, optimizer, folder / "first.undertow", every=every) as watcher:
            yield None
            watcher.flush()

    return watched


def seconds(case: Case, monitor: Monitor) -> float:
    """Of the CPU, for all steps; to attach and to close doesn't count, to write what was recorded does."""
    torch.manual_seed(0)
    model = case.model()
    optimizer = case.optimizer(model)
    for _ in range(5):
        step(case, model, optimizer, None)
    with tempfile.TemporaryDirectory() as folder:
        with monitor(model, optimizer, Path(folder)) as look:
            start = time.process_time()
            for _ in range(case.steps):
                step(case, model, optimizer, look)
        return time.process_time() - start


def step(case: Case, model: nn.Module, optimizer: torch.optim.Optimizer, look: Step | None) -> None:
    optimizer.zero_grad()
    case.loss(model).backward()
    if look is not None:
        look()
    optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", action="store_true", help="also those peers that are installed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", type=int, nargs="*", default=range(len(CASES)), help="numbers of the models")
    parser.add_argument(
        "--monitors", nargs="*", help="names of those to time beside the unwatched loop; all if not given"
    )
    arguments = parser.parse_args()
    monitors: dict[str, Monitor] = {"unwatched": unwatched, "watched": watching(None), "every step": watching(1)}
    if arguments.peers:
        monitors |= PEERS
    if arguments.monitors is not None:
        monitors = {name: m for name, m in monitors.items() if name == "unwatched" or name in arguments.monitors}
    rows = []
    for case in (CASES[number] for number in arguments.only):
        contenders = {name: (lambda m=m: seconds(case, m)) for name, m in monitors.items()}  # noqa: B023  # used at once
        times = measure(contenders, arguments.rounds)
        asked = {"watched": f"<= {case.limit}", "every step": f"<= {case.limit_every}"}
        for name in monitors:
            each = 1e3 * times.median(name) / case.steps
            ratio = times.ratio(name, "unwatched")
            rows.append([case.name, name, case.steps, f"{each:.3f}", f"{ratio:.3f}", asked.get(name, "")])
    print(table(["model", "monitor", "steps", "ms a step", "x unwatched", "asked"], rows))


if __name__ == "__main__":
    main()

"""What watching a training run costs: steps with a watcher / steps without, side by side in one run.

    OMP_NUM_THREADS=1 python benchmarks/watch.py            the default, and a tape at every step
    OMP_NUM_THREADS=1 python benchmarks/watch.py --peers    and what others take (pip install 'undertow[peers]')

Times are of the CPU, of all threads: what the writer's thread does counts. Peers that are many times slower than the
loop are timed over fewer steps; everything is given for one step.
"""

import argparse
import contextlib
import functools
import gc
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import undertow
from peers import PEERS, Attached, Monitor, Peer
from rounds import Times, measure, table

torch.set_num_threads(1)
AGAIN = "unwatched, once more"


@dataclass(frozen=True)
class Case:
    """A model, its batch, and over how many steps it is timed."""

    name: str
    model: Callable[[], nn.Module]
    loss: Callable[[Callable[[Tensor], Tensor]], Tensor]
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


def language_loss(model: Callable[[Tensor], Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(TOKENS[:, :-1]).flatten(0, 1), TOKENS[:, 1:].flatten())


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-4)


CASES = (
    Case("the book's net, batch 10", book, lambda m: (m(X_BOOK) - Y_BOOK).square().mean(), sgd, 2000, 1.01, 3.5),
    Case("MLP 20x256, batch 128", mlp, lambda m: nn.functional.cross_entropy(m(X_MLP), Y_MLP), sgd, 300, 1.01, 1.6),
    Case("6-block transformer", transformer, language_loss, adamw, 100, 1.01, 1.3),
)


@contextlib.contextmanager
def unwatched(*_: object) -> Iterator[Attached]:
    yield Attached()


def watching(every: int | None) -> Monitor:
    @contextlib.contextmanager
    def watched(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> Iterator[Attached]:
        with undertow.watch(model, optimizer, folder / "first.undertow", every=every) as watcher:
            yield Attached(write=watcher.flush)

    return watched


OURS = (Peer("unwatched", unwatched), Peer("watched", watching(None)), Peer("every step", watching(1)))
LONGER = Peer("watched, ten times as long", watching(None), fewer=0.1)
"""What the first tapes cost, which are the dearest, is a part of a run that depends on its length."""


def seconds(case: Case, peer: Peer) -> float:
    """Of the CPU, for a step; to attach and to close doesn't count, to write what was recorded does."""
    torch.manual_seed(0)
    model = case.model()
    optimizer = case.optimizer(model)
    for _ in range(5):
        step(case, model, optimizer, Attached())
    with tempfile.TemporaryDirectory() as folder, peer.monitor(model, optimizer, Path(folder)) as attached:
        gc.collect()  # what the one before left behind is not this one's to collect
        start = time.process_time()
        for _ in range(steps(case, peer)):
            step(case, model, optimizer, attached)
        if attached.write is not None:
            attached.write()
        return (time.process_time() - start) / steps(case, peer)


def steps(case: Case, peer: Peer) -> int:
    return round(case.steps / peer.fewer)


def step(case: Case, model: nn.Module, optimizer: torch.optim.Optimizer, attached: Attached) -> None:
    optimizer.zero_grad()
    loss = case.loss(attached.forward or model)
    loss.backward()
    if attached.look is not None:
        attached.look(loss)
    optimizer.step()


def contenders(arguments: argparse.Namespace) -> list[Peer]:
    """The unwatched loop first; with peers it runs once more at the end of a round, to show what a ratio is worth."""
    every = [*OURS, LONGER, *PEERS, Peer(AGAIN, unwatched)] if arguments.peers else [*OURS, LONGER]
    return [peer for peer in every if arguments.monitors is None or peer.name in (OURS[0].name, *arguments.monitors)]


def rows(case: Case, peers: list[Peer], times: Times) -> list[list[object]]:
    asked = dict.fromkeys(("watched", LONGER.name), f"<= {case.limit}") | {"every step": f"<= {case.limit_every}"}
    return [
        [
            case.name,
            peer.name,
            steps(case, peer),
            f"{1e3 * times.median(peer.name):.3f}",
            f"{times.ratio(peer.name, OURS[0].name):.3f}",
            asked.get(peer.name, ""),
        ]
        for peer in peers
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", action="store_true", help="also those peers that are installed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", type=int, nargs="*", default=range(len(CASES)), help="numbers of the models")
    parser.add_argument(
        "--monitors", nargs="*", help="names of those to time beside the unwatched loop; all if not given"
    )
    arguments = parser.parse_args()
    peers = contenders(arguments)
    for case in (CASES[number] for number in arguments.only):
        times = measure({peer.name: functools.partial(seconds, case, peer) for peer in peers}, arguments.rounds)
        header = ["model", "monitor", "steps", "ms a step", "x unwatched", "asked"]
        print(table(header, rows(case, peers, times)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()

"""What others do at every step, in the loop of `benchmarks/watch.py`; those that aren't installed are left out.

Each is used as its own documentation says. What it would print goes nowhere, what it records into a folder that is
deleted afterwards, and nothing leaves the machine. When it is done, each has to show that it measured something.
"""

import contextlib
import importlib.util
import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Optimizer = torch.optim.Optimizer


@dataclass(frozen=True)
class Attached:
    """What a monitor wants of the loop while it watches."""

    look: Callable[[Tensor], object] | None = None
    """Is called with the loss after each backward pass."""
    write: Callable[[], object] | None = None
    """Puts away what was recorded: counts, which closing doesn't."""
    forward: Callable[[Tensor], Tensor] | None = None
    """Is called in place of the model."""


Monitor = Callable[[nn.Module, Optimizer, Path], AbstractContextManager[Attached]]


@dataclass(frozen=True)
class Peer:
    """A row: what watches, from which package, and how much slower than the loop it is, roughly."""

    name: str
    monitor: Monitor
    package: str = "torch"
    fewer: float = 1
    """It is timed over so many times fewer steps than the others: its ratio is one of times a step all the same."""


@contextlib.contextmanager
def foreach_norm(model: nn.Module, *_: Any) -> Iterator[Attached]:
    """No peer: the least that anybody can do at every step."""
    yield Attached(lambda _: torch._foreach_norm(gradients(model)))


@contextlib.contextmanager
def norm_items(model: nn.Module, *_: Any) -> Iterator[Attached]:
    """What people write themselves."""
    yield Attached(lambda _: [g.norm().item() for g in gradients(model)])


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad for p in model.parameters() if p.grad is not None]


@contextlib.contextmanager
def tensorboard(model: nn.Module, _: Optimizer, folder: Path) -> Iterator[Attached]:
    """A histogram of every gradient, the loop of its tutorials."""
    from torch.utils.tensorboard import SummaryWriter

    writer, numbers = SummaryWriter(folder), itertools.count()

    def look(_: Tensor) -> None:
        number = next(numbers)
        for name, p in model.named_parameters():
            writer.add_histogram(name, p.grad, number)

    yield Attached(look, writer.flush)
    writer.close()
    assert next(folder.glob("events.*")).stat().st_size > 1000 * next(numbers)


def wandb_watch(log_freq: int) -> Monitor:
    """Its hooks, and the `log` at every step that takes along what they collected; its own process isn't counted."""

    @contextlib.contextmanager
    def watched(model: nn.Module, _: Optimizer, folder: Path) -> Iterator[Attached]:
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        run = wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True, console="off"))
        run.watch(model, log_freq=log_freq)
        yield Attached(lambda _: run.log({"loss": 0.0}))
        run.finish()
        written = next(folder.glob("wandb/offline-run-*/*.wandb")).read_bytes()
        assert (b"gradients/" if log_freq == 1 else b"loss") in written

    return watched


@contextlib.contextmanager
def lightning(model: nn.Module, _: Optimizer, folder: Path) -> Iterator[Attached]:
    """`on_before_optimizer_step` of its documentation, logged at each 50th step as its Trainer does unless told."""
    from lightning.pytorch.loggers import CSVLogger
    from lightning.pytorch.utilities import grad_norm

    logger, numbers = CSVLogger(folder), itertools.count()

    def look(_: Tensor) -> None:
        norms = grad_norm(model, norm_type=2)
        number = next(numbers)
        if number % 50 == 0:
            logger.log_metrics(norms, number)

    yield Attached(look, logger.save)
    assert "grad_2.0_norm_total" in (Path(logger.log_dir) / "metrics.csv").read_text()


@contextlib.contextmanager
def traintools(model: nn.Module, optimizer: Optimizer, _: Path) -> Iterator[Attached]:
    """The quick start's `inspect`, without printing what it finds."""
    from traintools import GradientHealthMonitor

    monitor, numbers = GradientHealthMonitor(), itertools.count()
    reports: deque[Any] = deque(maxlen=1)

    def look(_: Tensor) -> None:
        reports.append(monitor.inspect(model, step=next(numbers), lr=optimizer.param_groups[0]["lr"]))

    yield Attached(look)
    assert len(reports[0].layers) == len(gradients(model))
    assert reports[0].total_grad_norm > 0


@contextlib.contextmanager
def torchlens_checks(model: nn.Module, optimizer: Optimizer, _: Path) -> Iterator[Attached]:
    """Gradient norms from hooks of the parameters, judged once a backward pass."""
    from torchlens.checks import ChecksSession

    session, numbers = ChecksSession(model, optimizer), itertools.count()
    session.register_magnitude_check()
    with session:
        yield Attached(lambda _: next(numbers))
    assert session.final_report is not None
    assert session.final_report.counters["backwards"] == next(numbers)
    assert session.final_report.coverage["fire_counts_nonzero"] == len(gradients(model))


def torchlens_watch(**settings: Any) -> Monitor:
    """Statistics of the gradients into its file of JSON lines, with room for more than the 256 steps it allows for."""

    @contextlib.contextmanager
    def watched(model: nn.Module, optimizer: Optimizer, folder: Path) -> Iterator[Attached]:
        from torchlens.observability import WatchSettings
        from torchlens.trackers import JSONLSink, watch

        steps, sink, room = [0], JSONLSink(folder / "run"), WatchSettings(ram_capacity=10_000)

        def look(_: Tensor) -> None:
            steps[0] += 1

        with watch(model, to=sink, optimizer=optimizer, step=lambda: steps[0], settings=room, **settings) as session:
            yield Attached(look)
        recorded = {json.loads(line).get("step") for line in (folder / "run").read_text().splitlines()}
        assert len(recorded - {None, 0}) >= steps[0] // session.every

    return watched


@contextlib.contextmanager
def torchlens_trace(model: nn.Module, *_: Any) -> Iterator[Attached]:
    """Every operation with its output and its gradient, judged by its own audit: nearest to a tape."""
    import torchlens
    from torchlens.backends.torch.wrappers import unwrap_torch, wrap_torch
    from torchlens.debug import gradient_flow_audit_rows
    from torchlens.options import CaptureOptions

    capture, found = CaptureOptions(save_grads=True, backward_ready=True), [0]
    traces: list[Any] = []

    def forward(x: Tensor) -> Tensor:
        traces.append(torchlens.trace(model, x, capture=capture))
        return traces[0][traces[0].output_layers[0]].out

    def look(_: Tensor) -> None:
        rows, _facts = gradient_flow_audit_rows(traces[0])
        found[0] = sum(row["grad_norm"] is not None for row in rows)
        traces.pop().cleanup()

    wrap_torch()
    yield Attached(look, forward=forward)
    unwrap_torch()
    assert found[0] > len(gradients(model)) / 2


def ormas(**settings: Any) -> Monitor:
    """The two lines of its README; the reports that it writes when it is closed aren't counted."""

    @contextlib.contextmanager
    def watched(model: nn.Module, optimizer: Optimizer, folder: Path) -> Iterator[Attached]:
        from ormas_monitor import Monitor as OrmasMonitor

        monitor = OrmasMonitor(model, optimizer, out=folder / "ormas", verbose=False, **settings)
        yield Attached(monitor.step)
        monitor.close()
        assert monitor.checks == -(-monitor.step_count // monitor.check_every)
        assert len((folder / "ormas" / "metrics.jsonl").read_text().splitlines()) >= monitor.checks

    return watched


ALL = (
    Peer("_foreach_norm", foreach_norm),
    Peer("p.grad.norm().item()", norm_items),
    Peer("TensorBoard histograms", tensorboard, "tensorboard", fewer=10),
    Peer("wandb.watch, log_freq=1", wandb_watch(1), "wandb", fewer=5),
    Peer("wandb.watch, default (1000)", wandb_watch(1000), "wandb"),
    Peer("Lightning grad_norm", lightning, "lightning"),
    Peer("traintools", traintools, "traintools", fewer=5),
    Peer("torchlens checks", torchlens_checks, "torchlens"),
    Peer("torchlens watch, every=1", torchlens_watch(every=1), "torchlens", fewer=5),
    Peer("torchlens watch, default (50)", torchlens_watch(), "torchlens"),
    Peer("torchlens trace", torchlens_trace, "torchlens", fewer=20),
    Peer("ormas-monitor, check_every=1", ormas(check_every=1), "ormas_monitor", fewer=5),
    Peer("ormas-monitor, default (50)", ormas(), "ormas_monitor"),
)
PEERS = tuple(peer for peer in ALL if importlib.util.find_spec(peer.package) is not None)

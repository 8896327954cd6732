"""`Session`: what every trainer's leaf does alike with one fit; each leaf only translates its trainer's callbacks."""

import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import undertow
from undertow.integrations.tracking import Follower, Tracker, follow
from undertow.record import SCALARS, Finding
from undertow.watching import Watcher
from undertow.watching.agreement import agreed
from undertow.watching.unwrapping import innermost

ASKED_EVERY = 10
"""Steps after which processes that train together agree on stopping: to ask is a collective, and waits."""

FILE = "run.undertow"
"""The Run's name beside a trainer's logs."""

_log = logging.getLogger("undertow")


class Session:
    """Watches one fit after another, on behalf of a trainer.

    Args:
        path: of the Run; None for one beside the trainer's logs.
        stop_on: codes of findings or severities to stop for, see `undertow.watch`.
        on_finding: the user's own, called on a thread that isn't the training's.
        trackers: told of the Run, see `undertow.integrations.tracking`; classes and names are called when a fit begins.
        options: of `undertow.watch`.

    Attributes:
        watcher: of the fit that is going on or was the last; None before the first.

    Example:
        >>> import tempfile
        >>> net = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     session = Session(None, every=1)
        ...     session.begin(net, [optimizer], folder, step=10)
        ...     net(torch.ones(3, 2)).sum().backward()
        ...     optimizer.step()
        ...     session.log({"val_loss": 0.5, "loss": 0.4, "epoch": "first"})
        ...     session.end()
        ...     run = undertow.open_run(f"{folder}/run.undertow")
        >>> run.scalars["step"].tolist(), run.scalars["val_loss"].tolist(), run.scalars["trainer/loss"].tolist()
        ([10.0], [0.5], [0.4])
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        stop_on: Collection[str] = (),
        on_finding: Callable[[Finding], object] | None = None,
        trackers: Sequence[Tracker | type[Tracker] | str] = (),
        **options: Any,
    ) -> None:
        self._trackers, self._followers = trackers, list[Follower]()
        self._path, self._stop_on, self._on_finding, self._options = path, stop_on, on_finding, options
        self._found: deque[Finding] = deque()
        self.watcher: Watcher | None = None

    def begin(
        self,
        model: nn.Module,
        optimizers: Optimizer | Sequence[Optimizer] | None,
        folder: str | os.PathLike[str],
        step: int | None,
        **settings: Any,
    ) -> None:
        """Watch a fit that begins at a step of the trainer's; one that was going on has ended, with an error perhaps.

        Args:
            model: what is trained, wrapped or not.
            optimizers: that train it; an empty list where the trainer has none of torch's, and nothing is watched; None
                where its own isn't one of torch's, and the leaf tells of its steps.
            folder: where the trainer's logs are; ``runs`` stands for an address.
            step: the first: 0 in a new training; None to have it found by what the optimizer has counted.
            settings: of `undertow.watch` that the trainer knows; what the user gave goes before them.
        """
        self.end()
        self._found.clear()
        self.watcher = None
        given = [] if optimizers is None else optimizers if isinstance(optimizers, (list, tuple)) else [optimizers]
        foreign = [type(each).__name__ for each in given if not isinstance(innermost(each), Optimizer)]
        if foreign or (optimizers is not None and not given):
            why = f"{', '.join(foreign)} is no torch.optim.Optimizer" if foreign else "it has no optimizer"
            _log.warning("undertow: this training isn't watched, as %s", why)
            return
        here = Path("runs") if "://" in str(folder) else Path(folder)  # SQLite writes to no bucket
        path = here / FILE if self._path is None else Path(self._path)
        going_on = {} if step == 0 else {"resume": True, "step": step}
        options = {**settings, **going_on, **self._options}
        options["header"] = {**settings.get("header", {}), **self._options.get("header", {})}
        try:
            self.watcher = undertow.watch(
                model, optimizers, path, on_finding=self._hear, stop_on=self._stop_on, **options
            )
        except (TypeError, ValueError):
            raise  # an option that makes no sense: said before anything is trained
        except Exception as error:  # ours, and no reason not to train
            _log.warning("undertow: this training isn't watched: %s: %s", type(error).__name__, error)
        if self.watcher is not None and not _rank():
            made = [each() if isinstance(each, type) else each for each in self._trackers]
            self._followers = [follow(self.watcher, each) for each in made]

    def _hear(self, finding: Finding) -> None:
        self._found.append(finding)
        if self._on_finding is not None:
            self._on_finding(finding)

    def news(self) -> list[Finding]:
        """Return the findings that were told since this was last called, for the trainer's log."""
        return [self._found.popleft() for _ in range(len(self._found))]

    def tell(self, log: logging.Logger = _log) -> None:
        """Log the findings that were told since the last call."""
        for finding in self.news():
            log.warning(sentence(finding))

    def log(self, values: Mapping[str, Any]) -> None:
        """Record a trainer's own numbers; what isn't one is left out, and what has a name of ours gets another."""
        if self.watcher is not None:
            self.watcher.log(**{own_name(name): value for name, value in values.items() if is_number(value)})

    def stop(self, step: int) -> Finding | None:
        """Return the finding to stop for after this step of the trainer's: the same one in every process."""
        if not self._stop_on:
            return None
        mine = None if self.watcher is None else self.watcher.stopping
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return mine
        return agreed(mine) if step % ASKED_EVERY == 0 else None

    def farewell(self, found: Finding, step: int | None = None) -> str:
        """Say that training stops for a finding, after a step of the trainer's, and how to look at the Run."""
        after = "" if step is None else f" after step {step}"
        where = "" if self.watcher is None else f": undertow show {self.watcher.path}"
        return f"undertow: training stops{after} for {found.code}{where}"

    def end(self) -> None:
        """Finish the Run, if one is going on, and have trackers told the rest of it."""
        if self.watcher is not None:
            self.watcher.close()
        while self._followers:
            self._followers.pop().close()


def _rank() -> int:
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if several else 0


def own_name(name: str) -> str:
    """Return the name under which a trainer's number is recorded: its own, unless a Run has one like it.

    Example:
        >>> own_name("val_loss"), own_name("loss"), own_name("grad_norm")
        ('val_loss', 'trainer/loss', 'trainer/grad_norm')
    """
    return f"trainer/{name}" if name in SCALARS or name.startswith("loss/") else name


def is_number(value: object) -> bool:
    """Tell whether a value is one number, or a tensor of one.

    Example:
        >>> is_number(0.5), is_number(torch.ones(1)), is_number("text"), is_number(torch.ones(2))
        (True, True, False, False)
    """
    return value.numel() == 1 if isinstance(value, Tensor) else isinstance(value, int | float)


def sentence(finding: Finding) -> str:
    """Say a finding in one line, for a trainer's log."""
    return " ".join(f"undertow: {finding.code} {finding.name} ({finding.severity}): {finding.message}".split())

"""`Training`: how to train, as data, so that a remedy can change it and a trial can run it. `Trial`: one such run."""

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

T = TypeVar("T")

Batch = Any
"""Whatever ``loss`` takes: a tuple of tensors as a rule."""

Batches = Iterable[Batch] | Callable[[], Iterable[Batch]]

DEFAULT_STEPS = 300
"""Steps of a trial where neither the caller nor the Training says how many."""

LOST_AFTER = 5
"""Losses in a row that aren't finite, after which a trial ends: no later step can mend weights of nan."""

MEASURED = 8
"""Times at which a trial is scored, its end included."""

EVALUATION_SEED = 2**31 - 5
EVALUATION_BATCHES = 8


@dataclass(frozen=True)
class Training:
    """Say how to train a model, as data: nothing happens when it is made.

    Attributes:
        model: makes a fresh model with random weights; called after ``torch.manual_seed(seed)``.
        batches: one pass over the data, such as a list or a DataLoader, or a function that returns one.
        loss: takes the model and a batch, returns a scalar tensor with its graph.
        optimizer: makes the optimizer of a model.
        score: takes the trained model, returns how good it is on data that it was not trained with; larger is better.
            Without it the negative loss on some batches is taken.
        scheduler: makes a scheduler of the learning rate; it is stepped after every optimizer's step.
        clip_grad_norm: the norm that gradients are clipped to; None leaves them alone.
        autocast: the dtype that the forward pass runs in where torch says that it may.
        loss_scaling: whether a ``torch.amp.GradScaler`` scales the loss, as float16 needs it.
        steps: of a full training, where you know.

    Raises:
        TypeError, ValueError: an attribute is something else than is asked for; the message says what to write instead.

    Example:
        >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> training = Training(
        ...     model=lambda: nn.Linear(4, 1),
        ...     batches=[(x, x.sum(1, keepdim=True))],
        ...     loss=lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
        ...     optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
        ... )
        >>> trial = training.run(seed=0, steps=50)
        >>> bool(trial.losses[-1] < 0.01 * trial.losses[0]), trial.diverged
        (True, None)
    """

    model: Callable[[], nn.Module]
    batches: Batches
    loss: Callable[[nn.Module, Batch], Tensor]
    optimizer: Callable[[nn.Module], Optimizer]
    score: Callable[[nn.Module], float] | None = None
    scheduler: Callable[[Optimizer], LRScheduler] | None = None
    clip_grad_norm: float | None = None
    autocast: torch.dtype | None = None
    loss_scaling: bool = False
    steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("model", "loss", "optimizer"):
            if not callable(getattr(self, name)) or isinstance(getattr(self, name), nn.Module):
                raise TypeError(_NOT_CALLABLE[name].format(kind=type(getattr(self, name)).__name__))
        for name in ("score", "scheduler"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise TypeError(f"{name} is a {type(getattr(self, name)).__name__}: give a function, or leave it out")
        if isinstance(self.batches, Iterator):
            raise TypeError(
                f"batches is a {type(self.batches).__name__}, which can be read only once, and every trial reads it "
                "anew: give a list, a DataLoader, or a function that returns an iterator"
            )
        if not callable(self.batches) and not isinstance(self.batches, Iterable):
            raise TypeError(f"batches is a {type(self.batches).__name__}: give a list of batches or a DataLoader")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}: a training has one at least; leave it out where you don't know")

    def passes(self, seed: int) -> Iterator[Batch]:
        """Yield batches without end, pass after pass, in an order that depends on the seed and the pass alone.

        Raises:
            ValueError: a pass over the data has no batch.
        """
        for number in range(2**31):
            _seed_everything(hash((seed, number)) % 2**31)
            empty = True
            for batch in self.batches() if callable(self.batches) else self.batches:
                empty = False
                yield batch
            if empty and number and callable(self.batches):
                raise ValueError("batches() gave no batch the second time: return a new iterator each time, not one")
            if empty:
                raise ValueError(
                    "batches holds no batch: is the loader empty, is drop_last larger than the data, or can it be read "
                    "only once?"
                )

    def sample(self, count: int = EVALUATION_BATCHES) -> list[Batch]:
        """Return some batches, always the same ones, and leave random numbers as they were."""
        with random_numbers_kept():
            return list(islice(self.passes(EVALUATION_SEED), count))

    def run(
        self,
        seed: int = 0,
        steps: int | None = None,
        *,
        scored: int = MEASURED,
        watcher: Callable[[nn.Module, Optimizer], Any] | None = None,
    ) -> "Trial":
        """Train once.

        Args:
            seed: of the model's weights, of the order of the data and of everything else random.
            steps: of the optimizer; ``self.steps`` unless told otherwise, else 300.
            scored: how often to take the score on the way, the end included.
            watcher: called with the model and its optimizer before the first step, as ``undertow.watch`` may be; what
                it returns is closed at the end.

        Raises:
            TypeError, ValueError: a function returned something else than is asked for; the message says what.
        """
        return _Loop(self, seed, steps or self.steps or DEFAULT_STEPS).run(scored, watcher)


_NOT_CALLABLE = {
    "model": "model is a {kind}: give a function that makes a fresh model, as in model=lambda: Net(), so that every "
    "trial starts anew",
    "loss": "loss is a {kind}: give a function of the model and a batch, as in "
    "loss=lambda model, batch: cross_entropy(model(batch[0]), batch[1])",
    "optimizer": "optimizer is a {kind}: give a function that makes one, as in "
    "optimizer=lambda model: torch.optim.Adam(model.parameters())",
}


@dataclass(eq=False)
class Trial:
    """One training, made: what it was and what came out.

    Attributes:
        seed: of its weights and data.
        losses: of every step, [steps]; shorter where it ended early.
        scores: at some steps, by step; the last is the trained model's.
        start: the score before the first step.
        diverged: the step at which the loss ceased to be finite for good, None if it didn't.
        seconds: that its steps took, scoring left out.
        scoring: seconds of one scoring.
        model: as trained; None in a trial that was made in another process.
    """

    seed: int
    losses: np.ndarray[Any, np.dtype[np.float64]]
    scores: dict[int, float] = field(default_factory=dict)
    start: float = math.nan
    diverged: int | None = None
    seconds: float = 0.0
    scoring: float = 0.0
    model: nn.Module | None = None

    @property
    def score(self) -> float:
        """The trained model's score; that before the first step where the training was lost or it is no number."""
        last = self.scores[max(self.scores)] if self.scores else math.nan
        return self.start if self.diverged is not None or not math.isfinite(last) else last


class _Loop:
    """The training loop itself."""

    def __init__(self, training: Training, seed: int, steps: int) -> None:
        self.training, self.seed, self.steps = training, seed, steps
        _seed_everything(seed)
        self.model = _checked(training.model(), nn.Module, "model()", "return the module")
        self.optimizer = _checked(training.optimizer(self.model), Optimizer, "optimizer(model)", "return the optimizer")
        self.scheduler = training.scheduler(self.optimizer) if training.scheduler else None
        self.device = next((p.device.type for p in self.model.parameters()), "cpu")
        self.scaler = torch.amp.GradScaler(self.device, enabled=training.loss_scaling)
        self.evaluation = [] if training.score else training.sample()

    def run(self, scored: int, watcher: Callable[[nn.Module, Optimizer], Any] | None) -> Trial:
        began = time.perf_counter()
        trial = Trial(self.seed, np.empty(0), model=self.model, start=self.score())
        trial.scoring = time.perf_counter() - began
        watching = watcher(self.model, self.optimizer) if watcher else None
        at = {round(self.steps * (i + 1) / scored) for i in range(scored)} if scored else set()
        losses: list[float] = []
        try:
            for step, batch in enumerate(islice(self.training.passes(self.seed), self.steps), start=1):
                began = time.perf_counter()
                losses.append(self.step(batch))
                trial.seconds += time.perf_counter() - began
                if len(losses) >= LOST_AFTER and not np.isfinite(losses[-LOST_AFTER:]).any():
                    trial.diverged = step - LOST_AFTER
                    break
                if step in at:
                    trial.scores[step] = self.score()
        finally:
            if watching is not None:
                watching.close()
        trial.losses = np.array(losses)
        if trial.diverged is None and losses and not math.isfinite(losses[-1]):
            trial.diverged = int(np.argmin(np.isfinite(losses)))
        return trial

    def step(self, batch: Batch) -> float:
        self.model.train()
        if isinstance(self.optimizer, torch.optim.LBFGS):  # the only one of torch's that asks for the loss itself
            return float(self.optimizer.step(lambda: self.backward(batch)))
        loss = self.backward(batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.scheduler is not None:
            self.scheduler.step()
        return loss

    def backward(self, batch: Batch) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        if not loss.requires_grad:
            raise ValueError(
                "loss(model, batch) returned a tensor without a graph, so that nothing has a gradient: is it cut off "
                "by .detach(), .item() or torch.no_grad(), or made of other numbers than the model's outputs?"
            )
        self.scaler.scale(loss).backward()
        if self.training.clip_grad_norm is not None:
            self.scaler.unscale_(self.optimizer)
            held = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(held, self.training.clip_grad_norm)
        return float(loss.detach())

    def loss(self, batch: Batch) -> Tensor:
        dtype = self.training.autocast
        with torch.autocast(self.device, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = _checked(self.training.loss(self.model, batch), Tensor, "loss(model, batch)", "return the loss")
        if loss.numel() != 1:
            shape = tuple(loss.shape)
            raise ValueError(f"loss(model, batch) returned a tensor of shape {shape}: reduce it, as by .mean()")
        return loss.reshape(())

    def score(self) -> float:
        """Take the score in evaluation mode, and leave random numbers as they were."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), random_numbers_kept():
                return derived(self.scored)
        finally:
            self.model.train(training)

    def scored(self) -> float:
        if self.training.score is not None:
            return _number(self.training.score(self.model))
        return -float(np.mean([float(self.loss(batch).detach()) for batch in self.evaluation]))


NO_GRAPH = "does not require grad"
"""What torch says of a derivative that is taken where nothing has a graph."""


def derived(compute: Callable[[], T]) -> T:
    """Compute something where gradients are off; with a graph if it takes a derivative, as of an equation's residual.

    Raises:
        RuntimeError: as ``compute`` does, for another reason.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> with torch.no_grad():
        ...     print(derived(lambda: torch.autograd.grad((3 * x).sum(), x)[0]))
        tensor([3., 3.])
    """
    try:
        return compute()
    except RuntimeError as error:
        if torch.is_grad_enabled() or NO_GRAPH not in str(error):
            raise
        with torch.enable_grad():
            return compute()


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Put the random states of Python, NumPy and torch back at the end.

    Example:
        >>> torch.manual_seed(0)
        <torch._C.Generator object at ...>
        >>> with random_numbers_kept():
        ...     first = torch.rand(1)
        >>> bool(torch.rand(1) == first)
        True
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # the user's functions may draw from it
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def _checked(value: object, kind: type[T], what: str, instead: str) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{what} returned {_named(value)}: {instead}")
    return value


def _named(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _number(score: object) -> float:
    try:
        return float(score)  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError):
        raise TypeError(f"score(model) returned {_named(score)}: return one number, larger is better") from None


def _seed_everything(seed: int) -> None:
    accelerator = getattr(torch, "accelerator", None)  # of torch 2.6
    if accelerator is None or accelerator.is_available():
        torch.manual_seed(seed)
    else:  # for devices that aren't there `torch.manual_seed` keeps a stack trace each time, and for good
        torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the user's functions may draw from it


def smoothed(losses: Sequence[float] | np.ndarray[Any, Any], last: int = 20) -> float:
    """Return the median of the last losses; inf where one of them is not finite.

    Example:
        >>> smoothed([3.0, 1.0, 1.1, 0.9], last=3)
        1.0
    """
    tail = np.asarray(losses[-last:], float)
    return float(np.median(tail)) if len(tail) and np.isfinite(tail).all() else math.inf

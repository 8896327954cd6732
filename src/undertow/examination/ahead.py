"""Try an optimizer's next steps on copies of a model, and see what becomes of it: the model is left as it was."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.examination.trial import NotJudgedError, trial_step


class Ahead:
    """Copies of optimizers with their parameters, which take steps while the model computes with the copies.

    Args:
        optimizers: only read. They step one after the other, as where Muon has the matrices and AdamW the rest.
        parameters: of the model, by name.

    Raises:
        NotJudgedError: an optimizer needs a closure, or can't be copied.

    Example:
        >>> w = nn.Parameter(torch.tensor([4.0]))
        >>> ahead = Ahead([torch.optim.SGD([w], lr=0.25)], {"w": w})
        >>> with ahead.in_place():
        ...     ahead.step(lambda: w.square().sum())
        ...     there = w.item()
        >>> there, w.item()
        (2.0, 4.0)
    """

    def __init__(self, optimizers: Sequence[Optimizer], parameters: Mapping[str, nn.Parameter]) -> None:
        if any(isinstance(each, torch.optim.LBFGS) for each in optimizers):
            raise NotJudgedError("LBFGS needs a closure")
        held = {id(p) for each in optimizers for group in each.param_groups for p in group["params"]}
        self._mine = {name: p for name, p in parameters.items() if id(p) in held and p.requires_grad}
        twins: dict[int, Tensor] = {}
        try:
            self._trials = [copy.deepcopy(each, twins) for each in optimizers]  # the memo says who became whom
        except Exception as error:
            raise NotJudgedError(f"an optimizer could not be copied: {error}") from error
        self._twins = {name: twins[id(p)] for name, p in self._mine.items()}
        for group in (
            group for each in self._trials for group in each.param_groups
        ):  # under warm-up: at the rate that it leads to
            if "initial_lr" in group and not isinstance(group["lr"], Tensor):
                group["lr"] = max(group["lr"], group["initial_lr"])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model compute with the copies; its own numbers are back afterwards, however the block ends."""
        kept = {name: p.data for name, p in self._mine.items()}
        try:
            for name, p in self._mine.items():
                p.data = self._twins[name].data
            yield
        finally:
            for name, p in self._mine.items():
                p.data = kept[name]

    def step(self, compute_loss: Callable[[], Tensor]) -> None:
        """Take one step, as training would."""
        for p in self._mine.values():
            p.grad = None
        compute_loss().backward()
        self._take_gradients()
        for each in self._trials:
            getattr(type(each).step, "__wrapped__", type(each).step)(each)  # without its hooks

    def trial_step(self) -> dict[str, Tensor]:
        """Return what the next step would add to each parameter; its gradient must be there."""
        self._take_gradients()
        held = [{id(p) for group in each.param_groups for p in group["params"]} for each in self._trials]
        found: dict[str, Tensor] = {}
        for trial, its in zip(self._trials, held, strict=True):
            if any(id(twin) in its and twin.grad is not None for twin in self._twins.values()):
                found |= trial_step(trial, self._twins)
        return found

    def _take_gradients(self) -> None:
        for name, p in self._mine.items():
            self._twins[name].grad = p.grad

"""UR4xx, level D: which step of a sequence is held against which."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.operations import REGRESSION_LOSSES
from undertow.remedies.anatomy import fresh
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.loss_inputs import BINARY, OF_CLASSES, looked_at, without_shift
from undertow.remedies.misplaced import target_of
from undertow.remedies.outside import OutsideModel
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import RewiredLoss
from undertow.tape.tensors import tensors_in
from undertow.training import Training

FEWEST = 3
"""Steps of a sequence that a shift leaves something of."""


@remedy("UR425", "each step's output beside the target that it is meant for", "D", ["UT704"])
def beside(training: Training, shift: int = 0) -> Training:
    """Hold each step's output against its own target, or the one a step later or earlier.

    What it changes:
        Without a shift, slices outside of the model that leave out the first step or the last keep all. With 1, each
        output is held against the target a step later; with -1, a step earlier.
    When:
        Tags are shifted as if they were the words to come, so that nobody can know them; or a model of language isn't,
        and says the word that it was given.
    Predicts:
        The loss falls under that of a guess by how frequent targets are.
    References:
        Bengio, Ducharme, Vincent, Jauvin 2003 (a neural probabilistic language model), on the word to come.
    """
    if shift not in (-1, 0, 1):
        raise ValueError(f"shift is {shift!r}: say -1, 0 or 1")
    if not shift:
        if not looked_at(fresh(training), training).shifted:
            raise ValueError("the loss leaves out neither the first step nor the last")
        return replace(training, loss=RewiredLoss(training.loss, _Unshifted()))
    return replace(training, loss=_Shifted(training.loss, shift))


@dataclass(frozen=True)
class _Unshifted:
    """Keeps all steps, as data; it makes a mode for a model."""

    def of(self, model: nn.Module) -> "_Keeping":
        """Make a mode for one call."""
        return _Keeping(model)


class _Keeping(OutsideModel):
    def changed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments, slices whole."""
        return (args[0], without_shift(args[1])) if name == "__getitem__" and len(args) == 2 else args


@dataclass(frozen=True)
class _Shifted:
    loss: Any
    shift: int

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        sizes = sequence_sizes(batch)
        if sizes is None:
            raise ValueError("no tensor of a batch has examples and steps")
        with _Shifting(model, self.shift, *sizes):
            made: Tensor = self.loss(model, batch)
            return made


class _Shifting(OutsideModel):
    def __init__(self, model: nn.Module, shift: int, examples: int, steps: int) -> None:
        super().__init__(model)
        self._shift, self._sizes = shift, (examples, steps)

    def changed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments, outputs and targets of a loss with a step less."""
        if name not in OF_CLASSES | BINARY | REGRESSION_LOSSES or len(args) < 2:
            return args
        made, target = (self._sequences(each) for each in args[:2])
        if made is None or target is None:
            return args
        axis = 1 if made.shape[1] == self._sizes[1] else 2
        early, late = (0, 1) if self._shift > 0 else (1, 0)
        kept = made.narrow(axis, early, self._sizes[1] - 1), target.narrow(1, late, self._sizes[1] - 1)
        flat = args[0].shape[0] != self._sizes[0]
        return (*(each.flatten(0, 1) if flat else each for each in kept), *args[2:])

    def _sequences(self, given: Any) -> Tensor | None:
        examples, steps = self._sizes
        if not isinstance(given, Tensor) or not given.ndim:
            return None
        if given.shape[0] == examples * steps:
            return given.unflatten(0, self._sizes)
        fits = given.ndim > 1 and given.shape[0] == examples and steps in given.shape[1:3]
        return given if fits else None


def sequence_sizes(batch: Any) -> tuple[int, int] | None:
    """Return how many examples and steps the targets of a batch have, or what goes in; None if they have no steps.

    Example:
        >>> sequence_sizes((torch.ones(4, 7, 2), torch.zeros(4, 7, dtype=torch.int64)))
        (4, 7)
    """
    target = target_of(batch)
    tensors = [each for each in (target, *tensors_in(batch)) if each is not None and each.ndim > 1]
    sizes = next((tuple(each.shape[:2]) for each in tensors if each.shape[1] >= FEWEST), None)
    return None if sizes is None else (int(sizes[0]), int(sizes[1]))


@beside.proposes
def _proposed_shift(diagnosis: Diagnosis) -> Iterator[Proposal]:
    facts = known_facts(diagnosis)
    loss, steps = facts.get("loss", {}), facts.get("targets", {}).get("steps", 0)
    learned = not unlearned(diagnosis)
    if loss.get("shifted", 0) > 1:
        yield Proposal({}, "outputs are held against the targets of the next step", 0.35 if learned else 0.75)
    elif loss.get("told"):
        yield Proposal({"shift": 1}, "the model is given the classes that it shall say", 0.85)
    elif steps >= FEWEST and not learned:
        for shift in (-1, 1):
            yield Proposal({"shift": shift}, "outputs may be held against the targets of another step", 0.4)


@beside.written
def _shift_lines(shift: int = 0) -> str:
    slices = {0: "output, y", 1: "output[:, :-1], y[:, 1:]", -1: "output[:, 1:], y[:, :-1]"}[shift]
    return f"# in the loss: hold {slices} against each other, with steps along axis 1"


@remedy("UR426", "a decoder that is given what came before", "D", ["UT704"])
def given_before(training: Training, start: int = 0) -> Training:
    """Give a decoder, in place of the symbol that it shall say, the one before it.

    What it changes:
        While the loss is computed, an input of the model that is the target moves a step back; the first step is a
        symbol to start with.
    When:
        A decoder is trained with the very symbols that it shall say as its input: it learns to repeat them, and knows
        nothing when it has to go by what it said itself.
    Predicts:
        The loss begins to tell how well the next symbol is known: it is larger.
    References:
        Sutskever, Vinyals, Le 2014; Williams, Zipser 1989 (teacher forcing).
    """
    if not looked_at(fresh(training), training).told:
        raise ValueError("the model isn't given the classes that it shall say")
    return replace(training, loss=_Before(training.loss, start))


@dataclass(frozen=True)
class _Before:
    loss: Any
    start: int

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        target = target_of(batch)

        def moved(value: Any) -> Any:
            same = isinstance(value, Tensor) and target is not None and value.data_ptr() == target.data_ptr()
            if not same or value.shape != target.shape:  # type: ignore[union-attr]  # it is a tensor: just asked
                return value
            return torch.cat([torch.full_like(value[:, :1], self.start), value[:, :-1]], 1)

        def enter(module: nn.Module, given: Any, named: Any) -> Any:
            del module
            return tuple(moved(each) for each in given), {name: moved(each) for name, each in named.items()}

        with model.register_forward_pre_hook(enter, with_kwargs=True):
            made: Tensor = self.loss(model, batch)
            return made


@given_before.proposes
def _proposed_decoder(diagnosis: Diagnosis) -> Iterator[Proposal]:
    vocabulary = int(known_facts(diagnosis).get("loss", {}).get("told", 0))
    for place, start in enumerate(dict.fromkeys((vocabulary - 1, 0, 1)) if vocabulary > 1 else ()):
        yield Proposal({"start": start}, "the model is given the classes that it shall say", 0.95 - 0.05 * place)


@given_before.written
def _decoder_lines(start: int = 0) -> str:
    before = f"torch.cat([torch.full_like(y[:, :1], {start}), y[:, :-1]], 1)"
    return f"# in the loss: model(x, {before}) in place of model(x, y)"

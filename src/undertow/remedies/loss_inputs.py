"""Note what the functions that make a loss are given, and what a model does with single numbers and states."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from undertow.operations import RECURRENT_CALLS, REGRESSION_LOSSES, SOFTMAXES
from undertow.remedies.anatomy import run_loss
from undertow.remedies.outside import Depth
from undertow.tape.tensors import tensors_in
from undertow.training import Training

BINARY = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})
MARGINS = frozenset({"soft_margin_loss", "hinge_embedding_loss", "cosine_embedding_loss", "margin_ranking_loss"})
"""Losses whose targets are -1 and 1, behind all else that they are given."""

OF_CLASSES = frozenset({"cross_entropy", "nll_loss"})
KNOWN_LOSSES = (
    BINARY | MARGINS | OF_CLASSES | SOFTMAXES | REGRESSION_LOSSES
    | {"sigmoid", "logsigmoid", "softplus", "kl_div", "ctc_loss", "multilabel_soft_margin_loss", "multi_margin_loss",
       "poisson_nll_loss", "gaussian_nll_loss", "triplet_margin_loss", "logsumexp"}
)  # fmt: skip
"""Functions that say by themselves what they take their inputs for."""

CHOOSING = frozenset({"argmax", "topk", "gt", "ge", "lt", "le", "__gt__", "__ge__", "__lt__", "__le__"})
"""Functions that say yes or no, or which: they have no slope."""

IGNORED = 4
"""Which argument of a loss of classes the ignored one is, counted from 0."""

SMOOTHING, SMOOTHED = "label_smoothing", 7
"""Which argument of cross entropy smooths labels, by name and counted from 0."""

DERIVING = "grad"
"""How ``torch.autograd.grad`` is called."""

SEQUENCE = 3


@dataclass
class LossInputs:
    """Hold what was seen.

    Attributes:
        spread: standard deviation of the logits that a softmax outside of the model is given, row by row; nan if none.
        beyond: lowest and highest target of a binary cross entropy, where they aren't 0 and 1 or between.
        unsigned: whether a loss for targets of -1 and 1 is given zeros.
        several: whether cross entropy is given targets of which several hold, or none.
        ignored: part of the targets that are of the class which a loss leaves out; 0 if it leaves out none.
        shifted: slices outside of the model that leave out the first step, or the last.
        told: size of the vocabulary, if the model is given the classes that it shall say; 0 if not.
        first: how often a recurrence that reads forwards is asked for its first state.
        single: normalisations over one number.
        chosen: whether something outside of the model says yes or no, or which.
        plain: whether no function says what it takes the model's outputs for.
        exchanged: whether a loss is given targets in the outputs' place.
        smoothing: part of every label that a cross entropy shares out among all classes.
        weighed: whether a loss of classes, or of yes and no, is given weights.
        derived: how often a derivative is taken without a graph of its own.
        passing: parameters that a forward pass makes, and that are gone behind it.
    """

    spread: float = math.nan
    beyond: tuple[float, ...] = ()
    unsigned: bool = False
    several: bool = False
    ignored: float = 0.0
    shifted: int = 0
    told: int = 0
    first: int = 0
    single: int = 0
    chosen: bool = False
    plain: bool = True
    exchanged: bool = False
    smoothing: float = 0.0
    weighed: bool = False
    derived: int = 0
    passing: int = 0

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        spread = self.spread if math.isfinite(self.spread) else None
        return {**vars(self), "beyond": list(self.beyond), "spread": spread}


def looked_at(model: nn.Module, training: Training) -> LossInputs:
    """Compute a training's loss once, without a graph, and note what functions are given.

    Example:
        >>> import torch
        >>> x, y = torch.ones(4, 3), torch.tensor([[255.0], [0.0], [0.0], [255.0]])
        >>> loss = lambda model, batch: nn.functional.binary_cross_entropy_with_logits(model(batch[0]), batch[1])
        >>> make = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)
        >>> looked_at(nn.Linear(3, 1), Training(lambda: nn.Linear(3, 1), [(x, y)], loss, make)).beyond
        (0.0, 255.0)
    """
    found = LossInputs()
    with ExitStack() as stack:
        calls = stack.enter_context(_Looking(found, model))
        calls.depth.follow(model)
        stack.callback(calls.depth.leave_alone)
        stack.callback(model.register_forward_pre_hook(calls.given, with_kwargs=True).remove)
        run_loss(model, training)
    found.passing = sum(made() is None for made in calls.foreign.values())
    return found


class _Looking(TorchFunctionMode):
    def __init__(self, found: LossInputs, model: nn.Module) -> None:
        super().__init__()
        self.found, self.depth, self.states = found, Depth(), States()
        self.own = {id(parameter) for parameter in model.parameters()}
        self.foreign: dict[int, ref[Tensor]] = {}
        self.inputs: dict[tuple[int, int], int] = {}
        """Classes that the model is given, by where they lie and how many they are; and how many there can be."""

    def given(self, module: nn.Module, given: Any, named: Any) -> None:
        del module
        for each in tensors_in((*given, *named.values())):
            if not each.is_floating_point() and each.ndim > 1:
                self.inputs[_place(each)] = 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name, keywords = getattr(func, "__name__", ""), kwargs or {}
        if self.depth.inside:
            self.within(name, args)
        else:
            self.beyond(name, args, keywords)
        self.found.derived += func is torch.autograd.grad and not keywords.get("create_graph", args[4:] == (True,))
        made = func(*args, **keywords)
        self.states.note(name, args, made)
        return made

    def within(self, name: str, args: Sequence[Any]) -> None:
        self.found.single += is_single(name, args)
        self.found.first += self.states.is_first(name, args)
        for each in args:
            if isinstance(each, nn.Parameter) and id(each) not in self.own:
                self.foreign[len(self.foreign)] = ref(each)
        if name == "embedding" and len(args) > 1 and isinstance(args[0], Tensor) and _place(args[0]) in self.inputs:
            self.inputs[_place(args[0])] = len(args[1])

    def beyond(self, name: str, args: Sequence[Any], keywords: Any) -> None:
        tensors = [each for each in (*args, *keywords.values()) if isinstance(each, Tensor)]
        self.found.chosen |= name in CHOOSING
        self.found.plain &= name not in KNOWN_LOSSES
        self.found.shifted += name == "__getitem__" and len(args) > 1 and leaves_out(args[1])
        if name in SOFTMAXES | OF_CLASSES and tensors and tensors[0].ndim > 1 and tensors[0].shape[1] > 1:
            self.found.spread = float(tensors[0].detach().float().std(1).median())
        if len(tensors) > 1 and name in BINARY | MARGINS | OF_CLASSES | {"kl_div"}:
            self.compared(name, tensors, args, keywords)

    def compared(self, name: str, tensors: list[Tensor], args: Sequence[Any], keywords: Any) -> None:
        target = tensors[-1] if name in MARGINS else tensors[1]
        self.found.exchanged |= are_exchanged(name, tensors[:2])
        self.found.weighed |= len(tensors) > 2 and name not in MARGINS
        if name == "cross_entropy":
            self.found.smoothing = float(args[SMOOTHED] if len(args) > SMOOTHED else keywords.get(SMOOTHING, 0.0))
        if name in BINARY and bool(((target < 0) | (target > 1)).any()):
            self.found.beyond = (float(target.min()), float(target.max()))
        elif name in MARGINS:
            self.found.unsigned |= bool((target == 0).any())
        elif name in OF_CLASSES and not target.is_floating_point():
            self.found.told = max(self.found.told, self.inputs.get(_place(target), 0))
            self.found.ignored = float((target == ignored_class(args, keywords)).double().mean())
        elif name == "cross_entropy" and target.ndim > 1 and target.shape == tensors[0].shape:
            self.found.several |= several_hold(target)


def _place(tensor: Tensor) -> tuple[int, int]:
    """Return what a tensor and its views of the whole share: where it lies, and how many numbers it has."""
    return tensor.data_ptr(), tensor.numel()


def ignored_class(args: Sequence[Any], keywords: Any) -> int:
    """Return the class that a loss leaves out; -1 if it is none that there could be.

    Example:
        >>> ignored_class((0, 0), {"ignore_index": 3}), ignored_class((0, 0), {}), ignored_class((0, 0), {"weight": 1})
        (3, -1, -1)
    """
    found = args[IGNORED] if len(args) > IGNORED else keywords.get("ignore_index", -1)
    return found if isinstance(found, int) and found >= 0 else -1


def are_exchanged(name: str, tensors: Sequence[Any]) -> bool:
    """Tell whether a loss is given targets, and outputs in their place: zeros and ones first, or shares, and no others.

    Args:
        name: of the loss.
        tensors: its first two arguments.

    Example:
        >>> import torch
        >>> y, made = torch.tensor([[1.0], [0.0]]), torch.tensor([[3.0], [-2.0]])
        >>> name = "binary_cross_entropy_with_logits"
        >>> are_exchanged(name, [y, made]), are_exchanged(name, [made, y]), are_exchanged(name, [y, y])
        (True, False, False)
    """
    both = len(tensors) > 1 and all(isinstance(each, Tensor) and each.is_floating_point() for each in tensors[:2])
    if not both or name in MARGINS:
        return False
    first, second = tensors[:2]
    if name == "kl_div":
        return bool((first >= 0).all()) and bool((second < 0).any())
    return _yes_or_no(first) and not _yes_or_no(second)


def _yes_or_no(tensor: Tensor) -> bool:
    return bool(((tensor == 0) | (tensor == 1)).all())


def several_hold(target: Tensor) -> bool:
    """Tell whether targets are yes or no for each class, and more than one, or none, is a yes.

    Example:
        >>> import torch
        >>> several_hold(torch.tensor([[1.0, 1.0], [0.0, 1.0]])), several_hold(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        (True, False)
    """
    return bool(((target == 0) | (target == 1)).all()) and bool((target.sum(1) != 1).any())


def without_shift(index: Any) -> Any:
    """Return an index that keeps the first and the last step where one of them is left out.

    Example:
        >>> without_shift((slice(None), slice(None, -1))), without_shift((slice(None), slice(2, None)))
        ((slice(None, None, None), slice(None, None, None)), (slice(None, None, None), slice(2, None, None)))
    """
    if isinstance(index, tuple):
        return tuple(without_shift(each) for each in index)
    return slice(None) if leaves_out(index) else index


def leaves_out(index: Any) -> bool:
    """Tell whether an index, or a part of it, leaves out the first step or the last, and nothing else.

    Example:
        >>> leaves_out((slice(None), slice(1, None))), leaves_out(slice(None, 1)), leaves_out((slice(None), 1))
        (True, False, False)
    """
    if isinstance(index, tuple):
        return any(leaves_out(each) for each in index)
    if not isinstance(index, slice) or index.step is not None:
        return False
    ends = (index.start, index.stop)
    return not any(isinstance(each, Tensor) for each in ends) and ends in ((1, None), (None, -1), (0, -1))


def is_single(name: str, args: Sequence[Any]) -> bool:
    """Tell whether a call normalises numbers one by one.

    Example:
        >>> import torch
        >>> x = torch.ones(4, 6, 1)
        >>> is_single("layer_norm", (x, (1,))), is_single("group_norm", (x, 6)), is_single("group_norm", (x, 2))
        (True, True, False)
    """
    if not args or not isinstance(args[0], Tensor) or args[0].ndim < 2 or len(args) < 2:
        return False
    if name == "group_norm":
        return bool(args[0].numel() == len(args[0]) * int(args[1]))
    return name in ("layer_norm", "rms_norm") and math.prod(args[1]) == 1


class States:
    """Follows what recurrences return, so far as one reads forwards, and where their steps are.

    Example:
        >>> import torch
        >>> rnn, states = nn.GRU(2, 3, batch_first=True), States()
        >>> made = rnn(torch.ones(4, 5, 2))
        >>> states.note("gru", (torch.ones(4, 5, 2), False, True), made)
        >>> states.last((made[0], (slice(None), 0)))[1]
        (slice(None, None, None), -1)
    """

    def __init__(self) -> None:
        self._known: list[tuple[Tensor, int]] = []

    def note(self, name: str, args: Sequence[Any], made: Any) -> None:
        """Remember what a recurrence has returned; of other functions nothing."""
        if name in RECURRENT_CALLS and isinstance(args[-1], bool) and not args[-2] and args[0].ndim == SEQUENCE:
            self._known.append((made[0], int(args[-1])))

    def is_first(self, name: str, args: Sequence[Any]) -> bool:
        """Tell whether a call takes the first state."""
        return name == "__getitem__" and self.last(args) is not args

    def last(self, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments of a call of ``__getitem__``, the last state's in place of the first's."""
        axis = next((axis for states, axis in self._known if args and states is args[0]), None)
        index = args[1] if len(args) > 1 and isinstance(args[1], tuple) else (args[1],) if len(args) > 1 else ()
        if axis is None or len(index) <= axis or type(index[axis]) is not int or index[axis] != 0:
            return args
        return args[0], tuple(-1 if place == axis else each for place, each in enumerate(index))


def bare_weights(model: nn.Module) -> Iterator[tuple[nn.Module, str, str, Tensor]]:
    """Yield tensors that require gradients and are no parameters: their module, its path, their name, themselves.

    Example:
        >>> import torch
        >>> class Bare(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.w = torch.ones(2, requires_grad=True)
        >>> [(path, name) for _, path, name, _ in bare_weights(nn.Sequential(Bare()))]
        [('0', 'w')]
    """
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter):
                yield module, path, name, value

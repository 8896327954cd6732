"""Survey what a training's loss calls, and in which state it finds modules: one pass that tells what remedies fit."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from undertow.operations import SOFTMAXES
from undertow.remedies.anatomy import LAYERS, run_loss
from undertow.remedies.attending import ATTENDING, across, hidden_by
from undertow.remedies.causal import looks_ahead
from undertow.remedies.dropping import rate_of
from undertow.remedies.ordering import placeless
from undertow.remedies.outside import Depth
from undertow.remedies.penalties import is_penalty
from undertow.remedies.reshaping import RESHAPES, meant_order
from undertow.remedies.rewiring import COPYING, copies, weight_in
from undertow.remedies.terms import is_sum
from undertow.tape.tensors import tensors_in
from undertow.training import Training

NARROW = (torch.float16, torch.bfloat16)
CUTS = frozenset({"detach", "detach_", "data", "item", COPYING})
SEQUENCES = 3
"""Axes of a batch of sequences: examples, steps, features."""

COMPARING = frozenset(
    {"cdist", "matmul", "__matmul__", "__rmatmul__", "mm", "addmm", "linear", "einsum", "sub", "__sub__", "__rsub__"}
)
CHOOSING = frozenset({"argmin", "argmax", "min", "max", "topk", "one_hot"})
ENDS = frozenset(
    {"relu", "sigmoid", "tanh", "relu6", "hardtanh", "softplus", "clamp", "softmax", "leaky_relu", "elu", "hardsigmoid"}
)
"""Functions that bound, or bend, what a model returns."""

ATTENTIONS = frozenset({ATTENDING, "multi_head_attention_forward"})

MODES = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


@dataclass
class Survey:
    """Hold what was seen.

    Attributes:
        calls: names of the functions that were called.
        over_batch: whether a softmax went over the examples of a batch.
        hidden_softmax: softmaxes of rows of features in front of a layer.
        one_class: whether a cross entropy, or a softmax, had a single output to choose among.
        exchanged: reshapes that only exchange sizes of axes, or flatten axes in another order than they lie in.
        cuts: how often a gradient is cut, parameters that are frozen for a while left out.
        narrow: whether something is computed in half precision.
        evaluating: modules in evaluation mode, though the loss is one to train with.
        turned: recurrent and attention modules that take the batch for time.
        codes: parameters that something is compared with, so that one of their rows is chosen.
        near: what they are compared with.
        end: the first function behind the last layer that bounds, or bends, what the model returns; empty if none does.
        padded: part of the steps that recurrent modules are given which is padding at the end.
        length: of the sequences that come in, 0 if none do.
        dropped: largest rate of dropout, whether a module or a function drops.
        penalised: how often a size of weights is taken outside of the model, as a penalty takes it.
        hidden: part of the positions that masks hide from attention, the largest; -1 if nothing is hidden.
        across: how often a softmax of attention's scores goes along another axis than that of the keys.
        ahead: how often the steps of a sequence attend to those behind them.
        placeless: whether it makes no difference to attention which step stands where.
        steps: the axis of the steps, where that is so.
        sums: how often two numbers are added up outside of the model, as terms of a loss are.
    """

    calls: set[str] = field(default_factory=set)
    over_batch: bool = False
    hidden_softmax: int = 0
    one_class: bool = False
    exchanged: int = 0
    cuts: int = 0
    narrow: bool = False
    evaluating: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    near: dict[str, Tensor] = field(default_factory=dict)
    end: str = ""
    padded: float = 0.0
    length: int = 0
    dropped: float = 0.0
    penalised: int = 0
    hidden: float = -1.0
    across: int = 0
    ahead: int = 0
    placeless: bool = False
    steps: int = 1
    sums: int = 0

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        kept = {name: value for name, value in vars(self).items() if name != "near"}
        return {**kept, "calls": sorted(self.calls)}


def surveyed(model: nn.Module, training: Training) -> Survey:
    """Compute a training's loss once, without a graph, and note what is called.

    Example:
        >>> x, y = torch.ones(4, 3), torch.zeros(4, dtype=torch.int64)
        >>> loss = lambda model, batch: nn.functional.cross_entropy(model(batch[0]).softmax(0), batch[1])
        >>> make = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)
        >>> found = surveyed(nn.Linear(3, 2), Training(lambda: nn.Linear(3, 2), [(x, y)], loss, make))
        >>> found.over_batch, found.one_class, "cross_entropy" in found.calls
        (True, False, True)
    """
    found = Survey()
    batch = training.sample(1)[0]
    found.length = _length(batch)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            hook = _States(found, name, _examples(batch))
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        calls = stack.enter_context(_Calls(found, _codebooks(model)))
        calls.depth.follow(model)
        stack.callback(calls.depth.leave_alone)
        stack.callback(model.register_forward_pre_hook(calls.enter).remove)
        stack.callback(model.register_forward_hook(calls.leave).remove)
        run_loss(model, training)
    with _Casts(found):
        run_loss(model, training)
    found.narrow |= training.autocast in NARROW
    if calls.attends and (axis := placeless(model, training, _examples(batch))) is not None:
        found.placeless, found.steps = True, axis
    if not found.calls & CHOOSING:
        found.codes, found.near = [], {}
    return found


def _examples(batch: Any) -> int:
    """Return how many examples a batch has: as many as targets that are one number each, else by its first tensor."""
    tensors = [each for each in tensors_in(batch) if each.ndim]
    one_each = [each for each in tensors[1:] if each.ndim == 1]
    return len((one_each or tensors)[0]) if tensors else 0


def _length(batch: Any) -> int:
    for each in tensors_in(batch):
        if each.ndim == 3 or (each.ndim == 2 and not each.is_floating_point()):
            return int(each.shape[1])
    return 0


def _codebooks(model: nn.Module) -> dict[int, tuple[str, nn.Parameter]]:
    """Return matrices that no layer multiplies with, by where they are kept."""
    held = {id(module.weight) for module in model.modules() if isinstance(module, LAYERS)}
    return {
        p.untyped_storage().data_ptr(): (name, p)
        for name, p in model.named_parameters()
        if p.ndim == 2 and id(p) not in held
    }


class _Calls(TorchFunctionMode):
    def __init__(self, found: Survey, books: dict[int, tuple[str, nn.Parameter]]) -> None:
        super().__init__()
        self.found, self.books, self.pending, self.within = found, books, 0, False
        self.depth, self.attends = Depth(), False

    def enter(self, module: nn.Module, given: Any) -> None:
        del module, given
        self.within = True

    def leave(self, module: nn.Module, given: Any, made: Any) -> None:
        del module, given, made
        self.within = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        keywords = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":  # of a property, such as `.data`
            name = getattr(getattr(func, "__self__", None), "__name__", name)
        self.found.calls.add(name)
        self.found.dropped = max(self.found.dropped, rate_of(name, args, keywords))
        self.found.penalised += not self.depth.inside and is_penalty(name, args)
        x = args[0] if args else keywords.get("input")
        self.found.sums += not self.depth.inside and is_sum(name, args)
        self.found.cuts += is_cut(name, args)
        self.attend(name, args, keywords)
        if isinstance(x, Tensor):
            self.look(name, x, args, keywords)
        return func(*args, **keywords)

    def attend(self, name: str, args: Any, keywords: dict[str, Any]) -> None:
        rows = bool(args) and isinstance(args[0], Tensor) and args[0].ndim >= SEQUENCES
        self.attends |= name in ATTENTIONS or (name == "softmax" and self.depth.inside and rows)
        self.found.across += self.depth.inside and across(name, args, keywords)
        self.found.ahead += self.depth.inside and looks_ahead(name, args, keywords)
        if (hidden := hidden_by(name, args, keywords)) is not None and self.depth.inside:
            self.found.hidden = max(self.found.hidden, float(hidden.double().mean()))

    def look(self, name: str, x: Tensor, args: Any, keywords: dict[str, Any]) -> None:
        if name in SOFTMAXES:
            dim = args[1] if len(args) > 1 else keywords.get("dim")
            self.found.over_batch |= takes_batch(x, dim)
            self.pending += x.ndim == 2
        if weight_in(name, args, keywords) is not None:
            self.found.hidden_softmax += self.pending
            self.pending, self.found.end = 0, ""
        if self.within and not self.found.end and name.rstrip("_") in ENDS:
            self.found.end = name.rstrip("_")
        if name in SOFTMAXES | {"cross_entropy"}:
            self.found.one_class |= x.ndim == 2 and x.shape[1] == 1
        if name in RESHAPES:
            self.found.exchanged += meant_order(x, args[1:], keywords) is not None
        if name in COMPARING:
            self.compare([each for each in (*args, *keywords.values()) if isinstance(each, Tensor)])

    def compare(self, tensors: list[Tensor]) -> None:
        for one in tensors:
            name, book = self.books.get(one.untyped_storage().data_ptr(), ("", None))
            near = [t for t in tensors if book is not None and t is not one and t.shape[-1:] == book.shape[1:]]
            if book is not None and near:
                self.found.near.setdefault(name, near[0].detach().reshape(-1, book.shape[1]).clone())
                self.found.codes = sorted(self.found.near)


def is_cut(name: str, args: Any) -> bool:
    """Tell whether a call cuts the gradient of something that is no parameter.

    Example:
        >>> x = torch.ones(2)
        >>> is_cut("detach", (x,)), is_cut("tensor", ([1.0],)), is_cut("item", (x.long(),)), is_cut("relu", (x,))
        (True, False, False, False)
    """
    if name not in CUTS or not args or isinstance(args[0], nn.Parameter):
        return False
    return copies(args) if name == COPYING else name != "item" or bool(args[0].is_floating_point())


def takes_batch(x: Tensor, dim: int | None) -> bool:
    """Tell whether a softmax along an axis goes over the examples of a batch.

    Example:
        >>> takes_batch(torch.ones(4, 3), 0), takes_batch(torch.ones(4, 3), 1), takes_batch(torch.ones(2, 4, 3), None)
        (True, False, True)
    """
    if x.ndim not in (2, 3):
        return False
    return dim == 0 or dim == -x.ndim or (dim is None and x.ndim == 3)


@dataclass(frozen=True)
class _States:
    found: Survey
    name: str
    examples: int

    def __call__(self, module: nn.Module, given: Any, keywords: Any) -> None:
        if isinstance(module, MODES) and not module.training and self.name not in self.found.evaluating:
            self.found.evaluating.append(self.name)
        first = next(iter(tensors_in((*given, *keywords.values()))), None)
        if isinstance(module, nn.RNNBase) and first is not None and first.ndim == SEQUENCES:
            rows = first if module.batch_first else first.transpose(0, 1)
            self.found.padded = max(self.found.padded, 1 - float(true_lengths(rows).double().mean()) / rows.shape[1])
        if (
            first is not None
            and first.ndim == SEQUENCES
            and self.turned(module, first)
            and self.name not in self.found.turned
        ):
            self.found.turned.append(self.name)

    def turned(self, module: nn.Module, first: Tensor) -> bool:
        """Tell whether the batch is where time should be."""
        if first.shape[0] == first.shape[1] or self.examples not in first.shape[:2]:
            return False
        return any(first.shape[int(not batch_first)] != self.examples for batch_first in batch_first_of(module))


def true_lengths(rows: Tensor) -> Tensor:
    """Return how many steps of sequences aren't padding: all but copies of the last step at the end, if there are any.

    Args:
        rows: [examples, steps, features].

    Example:
        >>> true_lengths(torch.tensor([[[1.0], [2.0], [0.0], [0.0]], [[1.0], [2.0], [3.0], [4.0]]])).tolist()
        [2, 4]
    """
    same = (rows == rows[:, -1:]).all(-1)
    copies = same.flip(1).long().cumprod(1).sum(1)
    return (rows.shape[1] - copies.where(copies > 1, torch.zeros_like(copies))).clamp(min=1)


def batch_first_of(module: nn.Module) -> Iterator[bool]:
    """Yield whether a module takes the batch first; nothing if it has no order of axes.

    Example:
        >>> list(batch_first_of(nn.LSTM(2, 3))), list(batch_first_of(nn.Linear(2, 3)))
        ([False], [])
    """
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        yield bool(module.batch_first)


class _Casts(TorchDispatchMode):
    def __init__(self, found: Survey) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        made = func(*args, **(kwargs or {}))
        self.found.narrow |= isinstance(made, Tensor) and made.dtype in NARROW
        return made

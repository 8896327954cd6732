"""Tables whose rows a model chooses by itself: codebooks, looked up by what lies nearest and not as the data says."""

import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode
from torch.utils.hooks import RemovableHandle

from undertow.tape.copying import nothing
from undertow.tape.members import modules_of, parameters_of
from undertow.tape.tensors import tensors_in


class Provenance(IntEnum):
    """Tell how a tensor came from a table."""

    TABLE = 1
    """It is the table, perhaps transposed, scaled or normalised."""
    COMPARED = 2
    """The table met data: distances, logits."""
    CHOSEN = 3
    """Integers or truths that were read off such a comparison, or what was made of them: a choice."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


Origin = tuple[Provenance, int]
"""How a tensor came from tables, and from which: a bit for each."""

_NOWHERE: tuple[Callable[[], Tensor | None], Origin | None] = (lambda: None, None)

_PRODUCTS = _words(
    "linear matmul __matmul__ __rmatmul__ mm bmm addmm baddbmm addmv mv einsum tensordot cdist bilinear conv1d conv2d "
    "conv3d multi_head_attention_forward scaled_dot_product_attention cosine_similarity pairwise_distance"
)
_LOOKUPS = _words("embedding embedding_bag index_select __getitem__ gather take_along_dim take select")


class SharedMode(TorchFunctionMode):
    """A mode that tells others what it sees: to enter a second one within it costs every function twice.

    Attributes:
        followers: are given, after each call, the function, what went in and what came out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.followers: list[Callable[[Any, object, object], None]] = []


class ChoiceFinder(TorchFunctionMode):
    """Follows tables through the functions of torch that are called while it is entered, up to choices among rows.

    A table is taken for chosen from if its rows are looked up (or multiplied by zeros and ones) by what argmin, argmax,
    topk or the like found in a comparison of data with that same table. Tokens that a model said before are none of
    that, as long as other weights lie between.

    Args:
        tables: parameters by ``id``, each with a name and of two dimensions or more.

    Example:
        >>> table, z = nn.Parameter(torch.randn(8, 4)), torch.randn(5, 4)
        >>> with ChoiceFinder({id(table): "codes"}) as finder:
        ...     nearest = torch.cdist(z, table).argmin(-1)
        ...     q = nn.functional.embedding(nearest, table)
        >>> finder.chosen
        {'codes'}
    """

    def __init__(self, tables: Mapping[int, str]) -> None:
        super().__init__()
        self.chosen: set[str] = set()
        self._names = list(tables.values())
        self._bits = {key: 1 << place for place, key in enumerate(tables)}
        self._origins: dict[int, tuple[Callable[[], Tensor | None], Origin | None]] = {}
        self._is_lost = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and note where what it returns came from."""
        del types
        out = func(*args, **(kwargs or {}))
        self.follow(func, (args, kwargs), out)
        return out

    def follow(self, func: Any, given: object, out: object) -> None:
        """Note where what a function returned came from."""
        if self._is_lost:
            return
        try:
            self._follow(_name(func), given, out)
        except Exception:  # somebody trains here, and tensors come in kinds that nobody foresees
            self._is_lost = True

    def _follow(self, name: str, given: object, out: object) -> None:
        from_tables = [self._origin(each) for each in tensors_in(given)]
        origin = self._combined(name, from_tables) if from_tables.count(None) < len(from_tables) else None
        if origin is not None:
            for tensor in tensors_in(out):
                self._note(tensor, origin)

    def _origin(self, tensor: Tensor) -> Origin | None:
        place = id(tensor)
        if place in self._bits:
            return Provenance.TABLE, self._bits[place]
        known, origin = self._origins.get(place, _NOWHERE)
        return origin if known() is tensor else None  # another one may lie there by now

    def _combined(self, name: str, given: list[Origin | None]) -> Origin | None:
        known = [origin for origin in given if origin is not None]
        tables = choices = together = 0
        for kind, bits in known:
            together |= bits
            if kind is Provenance.TABLE:
                tables |= bits
            elif kind is Provenance.CHOSEN:
                choices |= bits
        if name in _PRODUCTS or name in _LOOKUPS:
            if choices:
                self._choose(tables & choices)
            return (Provenance.COMPARED, tables) if tables else max(known) if name in _LOOKUPS else None
        kind = max(known)[0]
        if kind is Provenance.TABLE and len(known) < len(given):
            kind = Provenance.COMPARED
        return kind, choices if kind is Provenance.CHOSEN else together

    def _note(self, tensor: Tensor, origin: Origin) -> None:
        kind, bits = origin
        if kind is Provenance.COMPARED and not (tensor.is_floating_point() or tensor.is_complex()):
            kind = Provenance.CHOSEN
        if id(tensor) not in self._bits:
            self._origins[id(tensor)] = weakref.ref(tensor), (kind, bits)

    def _choose(self, bits: int) -> None:
        while bits:
            place = bits.bit_length() - 1
            self.chosen.add(self._names[place])
            bits ^= 1 << place


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", ""))


class ChoiceWatch:
    """Looks for chosen tables in the first call of a model that is trained, and in no other.

    Functions are followed inside that call only: whatever modes somebody enters around it are left in their order.

    Args:
        model: the one that is called.
        names: of its parameters, by ``id``.
        alone: whether the call is made for us, and nobody trains who has compiled something beside the model.
        modules: returns the model's modules by path, where somebody knows them.

    Attributes:
        chosen: the tables' names, and how many rows each has; None before they were looked for.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> watch = ChoiceWatch(net, {id(net.weight): "weight"})
        >>> watch.open()
        >>> _ = net(torch.ones(3, 2))
        >>> watch.close()
        >>> watch.chosen or {}  # None where something was compiled before
        {}
    """

    def __init__(
        self,
        model: nn.Module,
        names: Mapping[int, str],
        alone: bool = False,
        modules: Callable[[], Mapping[str, nn.Module]] | None = None,
    ) -> None:
        self._modules = modules or (lambda: modules_of(model))
        self.chosen: dict[str, int] | None = None
        self._model, self._names, self._alone = model, names, alone
        self._finder: ChoiceFinder | None = None
        self._within: SharedMode | None = None
        self._thread = 0
        self._handles: list[RemovableHandle] = []

    def open(self) -> None:
        """Listen for the call, unless one was heard or something is compiled, which our functions would disturb."""
        if self.chosen is not None or self._handles or _is_compiled(self._model, self._modules(), not self._alone):
            return
        watch = weakref.ref(self)
        self._handles = [
            self._model.register_forward_pre_hook(_Entering(watch), prepend=True),
            self._model.register_forward_hook(_Leaving(watch), prepend=True, always_call=True),
        ]

    def enter(self) -> None:
        """Follow what the call computes that has just begun; nothing happens unless somebody listens."""
        if not self._handles or self._finder is not None or self.chosen is not None:
            return
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            held = parameters_of(self._model, self._modules()).values()
            with torch._C.DisableTorchFunction():  # modes that are entered needn't hear of this
                tables = {id(p): self._names[id(p)] for p in held if id(p) in self._names and p.dim() > 1}
            self._finder, self._thread = ChoiceFinder(tables), threading.get_ident()
            around = _get_current_function_mode()
            self._within = around if isinstance(around, SharedMode) else None
            if self._within is None:
                self._finder.__enter__()  # type: ignore[no-untyped-call]
            else:
                self._within.followers.append(self._finder.follow)

    def leave(self) -> None:
        """Follow no longer: the call has ended."""
        finder = self._finder
        if finder is not None and self._thread == threading.get_ident():
            self._finder = None
            if self._within is None:
                finder.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            else:
                self._within.followers.remove(finder.follow)
            chosen = self._parameters(finder.chosen) if finder.chosen else ()
            self.chosen = {self._names[id(p)]: len(p) for p in chosen}

    def _parameters(self, names: Collection[str]) -> Iterator[nn.Parameter]:
        return (p for p in self._model.parameters() if self._names.get(id(p)) in names)

    def close(self) -> None:
        """Take the hooks off the model."""
        while self._handles:
            self._handles.pop().remove()


def _is_compiled(model: nn.Module, modules: Mapping[str, nn.Module], elsewhere: bool = True) -> bool:
    """Tell whether torch.compile has compiled something, or will: it would do so anew because of our functions.

    Args:
        model: the one that is called.
        modules: of the model.
        elsewhere: whether what was compiled beside it counts, too.
    """
    if isinstance(model, torch.jit.ScriptModule):  # takes no hooks
        return True
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    return bool(elsewhere and dynamo is not None and dynamo.counters.get("frames")) or any(
        getattr(module, "_compiled_call_impl", None) is not None or type(module).__name__ == "OptimizedModule"
        for module in modules.values()
    )


class _Entering:
    """A hook on somebody's model; a copy of it does nothing."""

    def __init__(self, watch: "Callable[[], ChoiceWatch | None]") -> None:
        self._watch = watch

    def __call__(self, *_: object) -> None:
        watch = self._watch()
        if watch is not None:
            self._act(watch)

    def _act(self, watch: ChoiceWatch) -> None:
        watch.enter()

    def __reduce__(self) -> tuple[Any, ...]:
        return nothing()


class _Leaving(_Entering):
    def _act(self, watch: ChoiceWatch) -> None:
        watch.leave()

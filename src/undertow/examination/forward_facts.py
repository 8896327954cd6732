"""Note what a forward pass shows and its graph doesn't keep: targets, data, normalisations, the loss's terms."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow.examination.derivatives import Derivatives
from undertow.examination.detached import DetachedValues
from undertow.examination.drawn import Draws
from undertow.examination.sources import SourceFinder, next_number, users_line
from undertow.examination.suspicion import MEETING, Suspicion, axes_exchanged
from undertow.operations import DIFFERENCES, RECURRENT_CALLS, REGRESSION_LOSSES, RESHAPING
from undertow.tape.class_axes import softmax_behind
from undertow.tape.graph import passed_over, reached
from undertow.tape.ops import PRODUCTS, op_name
from undertow.tape.other_leaves import leaf_behind
from undertow.tape.output_range import OF_STATES, is_standardised, last_operation, reach, standardised

Node = Any
Fact = dict[str, Any]

NOISE = frozenset({"randn", "randn_like", "normal", "normal_"})
"""What draws the noise of a sampled latent code."""

_ELEMENTWISE = DIFFERENCES | {"add", "__add__", "__radd__", "mul", "__mul__", "__rmul__", "multiply", "kl_div"}
_WEIGHING = frozenset({"linear", "conv1d", "conv2d", "conv3d", "matmul", "__matmul__", "mm", "addmm", "bilinear"})
_RECURRENT = RECURRENT_CALLS | {"lstm_cell", "gru_cell", "rnn_tanh_cell"}
_NORMS = frozenset({"batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm"})

_KEEPS_ROWS = frozenset(
    {"mul", "div", "native_dropout", "view", "unsafe_view", "transpose", "permute", "clone", "to_copy"}
)

ABOVE_ZERO = 1e-4
"""What no logarithm of a probability is above, rounded as it may be."""

MOST = 64
"""Calls of each kind that are kept: a hand-written loss over many steps repeats itself."""

ROWS, NUMBERS = 1024, 2**17
"""Rows of the data that are looked at, and numbers, of wide ones: enough for a mean and a spread."""


class ForwardFacts(SourceFinder):
    """Notes, while it is entered, calls in which the network meets its data and its targets.

    It only keeps references until `of` is called, and computes nothing before. No tensor is changed.

    Example:
        >>> net, x, y = torch.nn.Linear(3, 1), torch.randn(8, 3), torch.randn(8)
        >>> with ForwardFacts() as seen:
        ...     loss = (net(x) - y).square().mean()
        >>> seen.of(loss)["pairs"][0]["shapes"]
        [[8, 1], [8], [8, 8]]
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__(model)
        self._pairs: list[tuple[str, Tensor, Tensor, Node, int]] = []
        self._data: dict[tuple[int, tuple[int, ...]], tuple[str, Tensor, int, int, int]] = {}
        self._layers: dict[int, int] = {}
        self._norms: dict[tuple[Any, ...], Fact] = {}
        self.suspicion = Suspicion()
        self._detached = DetachedValues()
        self._derivatives, self._draws = Derivatives(), Draws()
        self._lookups: dict[Node, Tensor] = {}
        self._sums: list[tuple[Tensor, Tensor, int]] = []
        self._exchanged: Fact = {}
        self._reshaped: list[tuple[Node, Fact]] = []
        self._along: Fact = {}
        self._states: dict[Node, str] = {}
        self._joined: dict[Node, list[Tensor]] = {}
        self.scalars: dict[Node, Tensor] = {}
        self.noisy = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and note what went in and came out if it is one that tells something."""
        before, kwargs = next_number(), kwargs or {}
        out = super().__torch_function__(func, types, args, kwargs)
        name = getattr(func, "__name__", "")
        self.noisy = self.noisy or name in NOISE
        note = _NOTES.get(name)
        if note is not None:
            note(self, name, args, kwargs, out, before)
        if name in MEETING:
            self.suspicion.look(name, args, kwargs, out)
        self._detached.look(name, args, kwargs, out)
        if name == "normal" and isinstance(out, Tensor) and self._detached.learned(out):
            self._draws.drawn(out, before)
        if self.suspicion.exchanged and not self._exchanged:
            shapes = self.suspicion.exchanged
            self._exchanged = {"op": name, "shapes": shapes, "source": users_line()}
        if isinstance(out, Tensor) and out.numel() == 1 and out.grad_fn is not None:
            self.scalars.setdefault(out.grad_fn, out)
        return out

    def _pair(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, number: int) -> None:
        given = [*args, *(kwargs[key] for key in ("input", "target", "other") if key in kwargs)][:2]
        if name in DIFFERENCES:
            self._draws.scored(given)
        if len(given) < 2 or not all(isinstance(each, Tensor) for each in given) or len(self._pairs) >= MOST:
            return
        first, second = given
        if isinstance(out, Tensor) and out.grad_fn is not None and max(first.numel(), second.numel()) > 1:
            self._pairs.append((name, first, second, out.grad_fn, number))

    def _differentiated(self, _: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, number: int) -> None:
        self._derivatives.look(args, kwargs, out, number)

    def _looked_up(self, _: str, args: Sequence[Any], __: Mapping[str, Any], out: Any, number: int) -> None:
        del number
        if args and isinstance(args[0], Tensor) and out.grad_fn is not None and len(self._lookups) < MOST:
            self._lookups[out.grad_fn] = args[0]

    def _added(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, number: int) -> None:
        """Note what is added to rows of a table, such as positions."""
        self._pair(name, args, kwargs, out, number)
        if self._lookups and len(args) > 1 and all(isinstance(each, Tensor) for each in args[:2]):
            for rows, other in (args[:2], args[1::-1]):
                if rows.grad_fn is not None and _varied(self._lookups.get(passed_over(rows.grad_fn, _KEEPS_ROWS))):
                    self._sums.append((rows.detach(), other.detach(), number))

    def _cut_anew(self, name: str, args: Sequence[Any], _: Mapping[str, Any], out: Any, number: int) -> None:
        """Note reshapes of what was computed that look like an exchange of two axes."""
        if not isinstance(out, Tensor) or out.grad_fn is None or not isinstance(args[0], Tensor):
            return
        shapes = [list(args[0].shape), list(out.shape)]
        if axes_exchanged(*shapes) and len(self._reshaped) < MOST:
            fact = {"op": name, "shapes": shapes, "source": self.line_of(number), "output": True}
            self._reshaped.append((out.grad_fn, fact))

    def _likelihood(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], _: Any, number: int) -> None:
        """Note a softmax along another axis than the one that the loss takes its classes along."""
        given = args[0] if args else kwargs.get("input")
        if not isinstance(given, Tensor) or given.grad_fn is None or given.dim() < 2 or self._along:
            return
        behind = softmax_behind(given.grad_fn, given.shape)
        if behind is None:
            return
        node, classes = behind
        shape = list(node._saved_result.shape)
        axis = _axis(node._saved_dim, len(shape))
        if axis != classes:
            fact = {"op": op_name(node.name()), "loss": name, "shape": shape, "axis": axis, "classes": classes}
            self._along = {**fact, "source": self.line_of(number)}

    def _recurred(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, number: int) -> None:
        self._met_data(name, args, kwargs, out, number)
        if name in OF_STATES and isinstance(out, tuple) and isinstance(out[0], Tensor) and out[0].grad_fn is not None:
            projected = len(out) > 2 and out[1].shape[-1] != out[2].shape[-1]
            if not projected:
                self._states[out[0].grad_fn] = name

    def _met_data(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], _: Any, number: int) -> None:
        given = args[0] if args else kwargs.get("input")
        weight = args[1] if len(args) > 1 else kwargs.get("weight")
        if not isinstance(given, Tensor) or not any(map(_is_weight, (*args[1:], *kwargs.values()))):
            return
        self._draws.enters_a_layer(given)
        for data in self._joined.get(given.grad_fn, ()) if given.requires_grad else (given,):
            strided = data.is_floating_point() and data.dim() > 1 and data.layout is torch.strided
            if strided and not self._detached.learned(data):
                key = data.data_ptr(), tuple(data.shape)
                if key in self._data or len(self._data) < 8:
                    fan_in = data.shape[-1] if given.requires_grad else _fan_in(weight, data)
                    layer = self._layers.setdefault(id(weight), len(self._layers))
                    self._data.setdefault(key, (name, data.detach(), fan_in, number, layer))

    def _put_together(self, _: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, number: int) -> None:
        """Note data that is put beside what was computed, as numbers beside a table's rows."""
        del number
        parts = args[0] if args else kwargs.get("tensors", ())
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if isinstance(out, Tensor) and out.grad_fn is not None and dim in (-1, out.dim() - 1):
            data = [part for part in parts if isinstance(part, Tensor) and not part.requires_grad]
            if data and len(self._joined) < MOST:
                self._joined[out.grad_fn] = data

    def _normalised(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, number: int) -> None:
        if isinstance(out, Tensor) and out.grad_fn is not None and len(self._norms) < MOST:
            fact = _norm_fact(name, args, kwargs)
            if fact is not None:
                self._norms.setdefault(tuple(map(str, fact.values())), {**fact, "source": self.line_of(number)})

    def of(self, loss: Tensor) -> Fact:
        """Return the facts as JSON values: ``pairs`` (of output and target), ``data``, ``norms``, axes ``exchanged``.

        Args:
            loss: the scalar that the pass ended in; its graph must not be freed yet.
        """
        with torch.no_grad():
            near = _between_loss_and_weights(loss)
            pairs = [self._pair_fact(*pair) for pair in self._pairs if pair[3] in near]
            data = [self._data_fact(*each) for each in self._data.values()]
            straight, drawn = self._derivatives.straight(), self._draws.passed_on()
            reshaped = next((fact for node, fact in self._reshaped if node in near), {})
        return {
            "pairs": [p for p in pairs if p],
            "data": [d for d in data if d],
            "norms": list(self._norms.values()),
            "exchanged": self._exchanged or reshaped,
            "softmax along": self._along,
            "straight": {} if straight is None else {"source": self.line_around(straight)},
            "drawn": {} if drawn is None else {"source": self.line_around(drawn)},
            "state detached": self._detached.fact(loss),
            "sums": [self._sum_fact(*each) for each in self._sums[:MOST]],
        }

    def _pair_fact(self, name: str, first: Tensor, second: Tensor, node: Node, number: int) -> Fact:
        del node
        learned = [each.requires_grad for each in (first, second)]
        output, target = (second, first) if learned == [False, True] else (first, second)
        both = first.requires_grad and second.requires_grad
        met = list(torch.broadcast_shapes(output.shape, target.shape))
        fact: Fact = {"op": name, "shapes": [list(output.shape), list(target.shape), met], "both learn": both}
        fact["source"] = self.line_of(number)
        if name == "kl_div" and first.requires_grad:  # logarithms of probabilities are never above 0
            fact["above 0"] = (first > ABOVE_ZERO).double().mean().item()
        if both or (name not in REGRESSION_LOSSES and name not in DIFFERENCES):
            return fact
        return fact | _numbers(output, target, self._states)

    def _sum_fact(self, rows: Tensor, other: Tensor, number: int) -> Fact:
        sizes = [each.double().square().mean().sqrt().item() for each in (rows, other)]
        return {"looked up": sizes[0], "added": sizes[1], "source": self.line_of(number)}

    def _data_fact(self, name: str, data: Tensor, fan_in: int, number: int, layer: int) -> Fact:
        features = 1 if name.startswith("conv") else -1
        rows = data.movedim(features, -1).reshape(-1, data.shape[features])
        # By NumPy: a few thousand numbers take torch longer to be called than to be added up.
        x = rows[:: _evenly(max(len(rows) // ROWS, rows.numel() // NUMBERS, 1), len(rows))].double().cpu().numpy()
        if len(x) < 2 or not np.isfinite(x).all():
            return {}
        mean = x.mean(0)
        spread = np.sqrt(np.square(x - mean).sum(0) / (len(x) - 1))
        varied = np.sort(spread[spread > 0])
        return {
            "op": name,
            "layer": str(layer),
            "shape": list(data.shape),
            "rms": _rms(x),
            "largest": float(np.abs(x).max()),
            "spread": _rms(spread),
            "mean": _rms(mean),
            "widest": float(varied[-1]) if len(varied) else 0.0,
            "fan_in": fan_in,
            "whole": bool((x == np.round(x)).all()),
            "typical": float(varied[(len(varied) - 1) // 2]) if len(varied) else 0.0,
            "source": self.line_around(number),
        }


def _evenly(least: int, rows: int) -> int:
    """Return a stride that meets all columns of an image alike: where rows are pixels, it must not divide the width."""
    return next(stride for stride in itertools.count(least) if math.gcd(stride, rows) == 1)


def _rms(x: NDArray[np.float64]) -> float:
    return math.sqrt(float(np.square(x).mean()))


def _numbers(output: Tensor, target: Tensor, states: Mapping[Node, str]) -> Fact:
    """Return what is to be known of a target, and how much of it the output's last operation can't reach."""
    wanted = target.detach().double().flatten()
    if not len(wanted) or not bool(torch.isfinite(wanted).all()):
        return {}
    fact: Fact = {
        "target": {
            "mean": wanted.mean().item(),
            "spread": wanted.std(correction=0).item(),
            "smallest": wanted.min().item(),
            "largest": wanted.max().item(),
        },
        "output": {"rms": output.detach().double().square().mean().sqrt().nan_to_num(0, 0, 0).item()},
    }
    last = last_operation(output.grad_fn, states)
    state = states.get(last, "")
    if last is not None and not state and is_standardised(last):
        missed = wanted - standardised(wanted)
        return fact | {"last": {"op": op_name(last.name()), "missed": missed.square().mean().item()}}
    limits = OF_STATES[state] if state else None if last is None else reach(last)
    if last is None or limits is None:
        return fact
    low, high = limits
    missed = wanted - wanted.clamp(low, high)
    fact["last"] = {
        "op": state or op_name(last.name()),
        "low": None if low == -torch.inf else low,
        "high": None if high == torch.inf else high,
        "out of reach": (missed.abs() > 1e-6 * (1 + wanted.abs())).double().mean().item(),
        "missed": missed.square().mean().item(),
    }
    return fact


def _norm_fact(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Fact | None:
    """Count the values that every statistic of a normalisation is taken over, and of how many examples."""
    x = args[0] if args else kwargs.get("input")
    if not isinstance(x, Tensor) or x.dim() < 1:
        return None
    fact: Fact = {"op": name, "shape": list(x.shape), "examples": 1}
    if name in ("layer_norm", "rms_norm"):
        over = args[1] if len(args) > 1 else kwargs.get("normalized_shape", ())
        return fact | {"values": int(torch.Size(over).numel())}
    values = x.numel() // max(x.shape[0] * x.shape[1], 1) if x.dim() > 1 else 0
    if name == "instance_norm":
        return fact | {"values": values}
    if name == "group_norm":
        groups = int(args[1] if len(args) > 1 else kwargs["num_groups"])
        return fact | {"values": values * x.shape[1] // groups}
    training = bool(args[5] if len(args) > 5 else kwargs.get("training", False))
    running = args[1] if len(args) > 1 else kwargs.get("running_mean")
    tracked = isinstance(running, Tensor)
    return fact | {"values": values * x.shape[0], "examples": x.shape[0], "tracked": tracked} if training else None


def _varied(indices: Tensor | None) -> bool:
    """Tell whether examples look up different rows: positions are the same for all."""
    return indices is not None and indices.dim() > 1 and len(indices) > 1 and not bool((indices == indices[:1]).all())


def _axis(dim: int, axes: int) -> int:
    """Return an axis counted from the first: autograd keeps negative ones as unsigned numbers."""
    return (dim - 2**64 if dim >= 2**63 else dim) % axes


def _fan_in(weight: Any, data: Tensor) -> int:
    """Count the numbers that a unit of the layer sees."""
    if isinstance(weight, Tensor) and weight.dim() > 1:
        return max(weight.numel() // max(weight.shape[0], 1), 1)
    return data.shape[-1]


def _is_weight(value: Any) -> bool:
    """Tell whether it is a leaf that learns, also in another shape, or holds one; a product of two tensors is none."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_weight, value))
    return (
        isinstance(value, Tensor) and value.requires_grad and (value.is_leaf or leaf_behind(value.grad_fn) is not None)
    )


def _between_loss_and_weights(loss: Tensor) -> set[Node]:
    """Nodes that are reached from the loss without crossing a product."""
    return set(reached(loss.grad_fn, lambda node: op_name(node.name()) not in PRODUCTS))


_NOTES: dict[str, Callable[..., None]] = {
    **dict.fromkeys(REGRESSION_LOSSES | _ELEMENTWISE, ForwardFacts._pair),
    **dict.fromkeys(_WEIGHING, ForwardFacts._met_data),
    **dict.fromkeys(_RECURRENT, ForwardFacts._recurred),
    **dict.fromkeys(_NORMS, ForwardFacts._normalised),
    **dict.fromkeys(RESHAPING, ForwardFacts._cut_anew),
    **dict.fromkeys(("cat", "concat", "concatenate"), ForwardFacts._put_together),
    "nll_loss": ForwardFacts._likelihood,
    "embedding": ForwardFacts._looked_up,
    "grad": ForwardFacts._differentiated,
    **dict.fromkeys(("add", "__add__", "__radd__", "__iadd__", "add_"), ForwardFacts._added),
}

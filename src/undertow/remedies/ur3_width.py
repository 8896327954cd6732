"""UR3xx, level C: layers that are too narrow for what goes through them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import anatomy, fresh, replace_module
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

NARROW = 4
"""Features of a hidden layer up to which it is narrow: half of them may be dead, and classes don't fit through."""

WIDTH = 64


@remedy("UR319", "wider hidden layers", "C", ["UT704", "UT202"])
def widen(training: Training, width: int = WIDTH) -> Training:
    """Give hidden linear layers of up to four features more of them.

    What it changes:
        Such a layer, norms behind it and the linear layer that takes what it makes are made anew, under their names.
    When:
        A hidden layer has next to no features: what classes differ by doesn't fit through, and few dead units are
        enough to cut everything off.
    Predicts:
        The loss falls below what a few directions of the input can explain.
    References:
        Goodfellow, Bengio, Courville 2016, section 6.4.1 (universal approximation and depth).
    """
    return on_model(training, _Widen(training, width))


@dataclass(frozen=True)
class _Widen:
    training: Training
    width: int

    def __call__(self, model: nn.Module) -> None:
        for name, sizes in _made_anew(model, self.training, self.width):
            replace_module(model, name, _another(model.get_submodule(name), sizes))


def _made_anew(model: nn.Module, training: Training, width: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return names of modules that are made anew, with their sizes: features given and made, or of a norm.

    Raises:
        ValueError: no hidden layer is narrow.
    """
    seen = anatomy(model, training)
    layers: dict[str, tuple[int, ...]] = {}
    norms: dict[str, tuple[int, ...]] = {}
    for part, after in zip(seen.layers, seen.layers[1:], strict=False):
        one: Any = part.module
        other: Any = after.module
        fits = isinstance(one, nn.Linear) and isinstance(other, nn.Linear) and one.out_features == other.in_features
        if not fits or one.out_features > NARROW or max(part.calls, after.calls) > 1:
            continue
        layers[part.name] = (layers.get(part.name, (one.in_features,))[0], width)
        layers[after.name] = (width, other.out_features)
        between = seen.parts[seen.parts.index(part) : seen.parts.index(after)]
        norms |= {each.name: (width,) for each in between if isinstance(each.module, nn.BatchNorm1d | nn.LayerNorm)}
    if not layers:
        raise ValueError(f"no hidden linear layer has {NARROW} features or fewer in front of another one")
    return [*layers.items(), *norms.items()]


def _another(old: nn.Module, sizes: tuple[int, ...]) -> nn.Module:
    weight = next(old.parameters(), None)
    place: dict[str, Any] = {} if weight is None else {"device": weight.device, "dtype": weight.dtype}
    if isinstance(old, nn.Linear):
        return nn.Linear(sizes[0], sizes[1], bias=old.bias is not None, **place)
    return type(old)(*sizes, **place)


@widen.proposes
def _proposed_width(diagnosis: Diagnosis) -> Iterator[Proposal]:
    narrow = int(known_facts(diagnosis).get("narrowest", 0))
    if 0 < narrow <= NARROW:
        urgency = 0.6 if unlearned(diagnosis) else 0.35
        yield Proposal({"width": WIDTH}, f"a hidden layer has {narrow} features", urgency)


@widen.written
def _width_lines(width: int = WIDTH) -> str:
    return f"model.hidden = nn.Linear(given, {width})  # and {width} features for the layer that takes what it makes"


@widen.written_for
def _width_lines_for(training: Training, width: int = WIDTH) -> str:
    model = fresh(training)
    lines = []
    for name, sizes in _made_anew(model, training, width):
        parent, _, child = name.rpartition(".")
        old: Any = model.get_submodule(name)
        told = ", ".join(map(str, sizes)) + (", bias=False" if getattr(old, "bias", 0) is None else "")
        lines.append(f"setattr(model.get_submodule({parent!r}), {child!r}, nn.{type(old).__name__}({told}))")
    return "\n".join(lines)

"""`StepFacts`: the cheapest facts of a step, such as the loss and the gradient's norm, read without waiting."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from undertow.measure import FLOAT32_UP_TO, by_kind, host_norms, sent
from undertow.watching.loss_division import AccumulationWindow, whole_loss
from undertow.watching.loss_scale import left_to_the_optimizer
from undertow.watching.pass_owners import HeardPass
from undertow.watching.sharding import local_parts, own_part

Number = Tensor | float
"""A number that is still on its device, or one that the host knows."""


def send_named(named: Mapping[str, Sequence[Number]]) -> Callable[[], dict[str, list[float]]]:
    """Send numbers to the host, by name; what is returned waits for them.

    Example:
        >>> send_named({"a": [torch.tensor(1.0)], "b": [torch.tensor(2), 3.0], "c": []})()
        {'a': [1.0], 'b': [2, 3.0]}
    """
    found: dict[str, list[Any]] = {name: list(many) for name, many in named.items() if many}
    if not found:
        return dict
    away: list[tuple[tuple[list[Any], int], Tensor]] = []
    for many in found.values():
        for place, each in enumerate(many):
            if not isinstance(each, Tensor):
                continue
            if each.is_cpu:  # there is nothing to wait for
                many[place] = each.item()
            else:
                away.append(((many, place), each.detach().reshape(())))
    coming = [(places, sent(values)) for places, values in by_kind(away)]

    def arrived() -> dict[str, list[float]]:
        for places, values in coming:
            for (many, place), value in zip(places, values().tolist(), strict=True):
                many[place] = value
        return found

    return arrived


def norms(gradients: Sequence[Tensor], precise: bool = False) -> Sequence[Number]:
    """Compute the norm of each gradient on its device; ``precise``: in float64, whatever the size.

    On the host each is a number at once, and right whatever the range of its squares.
    """
    plain = list(local_parts(gradients))
    if any(g.layout is not torch.strided for g in plain):
        plain = [g.coalesce().values() if g.layout is torch.sparse_coo else g.to_dense() for g in plain]
    if all(g.is_cpu for g in plain):
        return host_norms(plain)
    if any(dtype.is_complex for dtype in {g.dtype for g in plain}):
        plain = [torch.view_as_real(g) if g.is_complex() else g for g in plain]
    return torch._foreach_norm(plain, 2, _accumulator(plain, precise))


def _accumulator(plain: Sequence[Tensor], precise: bool) -> torch.dtype | None:
    """Choose the precision to sum squares in; None for the tensors' own precision."""
    if plain[0].device.type != "mps" and (precise or max(g.numel() for g in plain) > FLOAT32_UP_TO):
        return torch.float64
    return None if plain[0].dtype in (torch.float32, torch.float64) else torch.float32


LOGGED = "logged:"
MAIN = "loss"
"""The curve of the first optimizer's loss."""

LOSS, DIVISOR = "loss:", "divisor:"


@dataclass
class ClippedGradients:
    """The norms that gradients had when somebody computed them to clip by, on their devices.

    Attributes:
        norms: of some gradients each.
        gradients: how many they are of; -1 if they can't be added up.
        scaled: whether they were multiplied by the loss scale then.
        heard: norms of which nobody knows yet whose gradients they are of.
    """

    norms: list[Number] = field(default_factory=list)
    gradients: int = 0
    scaled: bool = False
    heard: list[tuple[Tensor, float, Sequence[Tensor], bool]] = field(default_factory=list)

    def hear(self, norm: Tensor, norm_type: float, gradients: Sequence[Tensor], scaled: bool) -> None:
        """Take a norm; whose the gradients are turns out when an optimizer takes them."""
        self.heard.append((norm, norm_type, gradients, scaled))

    def take(self, unclipped: Sequence[Tensor], precise: bool) -> None:
        """Take the norms of all gradients as they were before somebody clipped copies of them."""
        if unclipped:
            with torch.no_grad():
                self.norms += norms(unclipped, precise)
            self.gradients += len(unclipped)

    def settle(self, watched: Iterable[Tensor | None]) -> None:
        """Count the norms of gradients that are watched, as they are now, and forget those of others."""
        left = {id(each) for each in watched}
        heard, self.heard = self.heard, []
        for norm, norm_type, gradients, scaled in heard:
            mine = [id(each) for each in gradients]
            if mine and left.issuperset(mine):
                left.difference_update(mine)  # whoever clips twice does so to what the first time has left
                usable = norm_type == 2 and self.gradients >= 0
                self.gradients = self.gradients + len(mine) if usable else -1
                self.scaled |= scaled
                self.norms.append(own_part(norm))


@dataclass
class StepFacts:
    """The cheapest facts of one step, still on their devices where they are tensors.

    Attributes:
        tensors: losses by the name of their curve, ``scale`` (as it was in the backward pass), ``norms`` of the
            gradients as the optimizer takes them, ``divisor`` (a scale that the optimizer itself divides them by),
            ``skip`` (a flag for it not to step), ``after backward`` (norms then), ``lr``.
        values: what the host knows.
        clipping: norms over all parameters before clipping.
        altered: whether somebody changed the gradients between the backward pass and the optimizer's step.
        gradients: how many there are, and ``names`` of their parameters.
        precise: norms were added up in float64.
        taped: the curve that the loss belongs to whose backward pass was taped.
        parts: whether the losses of several passes add up to the step's; None to tell by what they were divided by.
        window: the number of passes that losses are divided by.
    """

    tensors: dict[str, list[Number]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, float] = field(default_factory=dict)
    clipping: ClippedGradients = field(default_factory=ClippedGradients)
    altered: bool = False
    gradients: int = 0
    names: list[str] = field(default_factory=list)
    precise: bool = False
    taped: str = ""
    parts: bool | None = None
    window: AccumulationWindow = field(default_factory=AccumulationWindow)
    _curves: dict[str, list[Sequence[HeardPass]]] = field(default_factory=dict)

    @property
    def clipped(self) -> int:
        """Return of how many gradients somebody took norms to clip them by; -1 if those can't be added up."""
        return self.clipping.gradients

    def take_gradients(self, names: Sequence[str], norms: Sequence[Number]) -> None:
        """Add the norms of what the optimizer is about to take, by parameter."""
        self.gradients += len(names)
        self.names += names
        self.tensors["norms"] += norms

    def see_losses(self, curve: str, passes: Sequence[HeardPass], taped: int) -> None:
        """Take the losses of one step of an optimizer; ``taped``: the number of the pass that was taped."""
        passes = [each for each in passes if each.losses]
        for each in passes:
            self.tensors[LOSS + curve] += each.losses
            for number, _ in each.division.numbers:  # kinds come in turn
                self.tensors[_divisor(curve, number)].append(number)
            if each.number == taped:
                self.taped = curve
        if passes:
            self._curves.setdefault(curve, []).append(passes)

    def see_optimizer(self, optimizer: Optimizer, first: bool) -> None:
        """Take what an optimizer does by itself to the gradients, and the learning rate of the first one."""
        scale, skip = left_to_the_optimizer(optimizer)
        if scale is not None:
            self.tensors["divisor"] = [scale.detach()]
            self.tensors.setdefault("scale", [scale.detach()])
        if skip is not None:
            self.tensors["skip"] = [skip.detach()]
        if first:
            lr = optimizer.param_groups[0].get("lr", float("nan"))
            if isinstance(lr, Tensor):
                self.tensors["lr"] = [lr.detach().clone()]
            else:
                self.values["lr"] = float(lr)

    def log(self, values: Mapping[str, float | Tensor]) -> None:
        """Add what the user says about this step."""
        for name, value in values.items():
            if isinstance(value, Tensor):
                self.tensors[LOGGED + name] = [value.detach().clone()]
            else:
                self.values[name] = float(value)

    def send(self) -> Callable[[], "ArrivedFacts"]:
        """Start the transfers; what is returned waits for them."""
        if self.clipping.norms:
            self.tensors["unclipped"] = self.clipping.norms
        # On the host each norm is right whatever its range: see `norms`.
        precise = self.precise or all(isinstance(norm, float) for norm in self.tensors["norms"])
        coming, host, shared = send_named(self.tensors), dict(self.values), self._shared()

        def arrived() -> ArrivedFacts:
            read = coming()
            scale, divisor = read.get("scale", [1.0])[0], read.get("divisor", [1.0])[0]
            found = host | {name: read[name][0] for name in ("scale", "lr") if name in read}
            found |= {name.removeprefix(LOGGED): value[0] for name, value in read.items() if name.startswith(LOGGED)}
            named = [curve for curve in self._curves if read.get(LOSS + curve) and curve not in shared]
            losses = {curve: self._loss(curve, read) / scale for curve in named}
            found = losses | found
            if not math.isfinite(found.get("loss", 0.0)):
                found["loss_nonfinite"] = 1.0
            if self.clipped:
                found["clipped_scaled"] = float(self.clipping.scaled)
            if "norms" in read:
                found["grad_norm"] = total_norm(read["norms"]) / divisor
                found["nonfinite"] = float(not math.isfinite(found["grad_norm"]))
            found["grad_norm_unclipped"] = self._unclipped(read, scale, found.get("grad_norm", math.nan))
            if "norms" in read and may_have_overflowed(found, precise):
                found |= dict.fromkeys(("grad_norm", "grad_norm_unclipped", "nonfinite"), math.nan)
            if any(read.get("skip", ())):
                found |= {"skipped": 1.0, "nonfinite": 1.0}
            known = zip(self.names, read.get("norms", ()), strict=False)
            wrong = [name for name, norm in known if not math.isfinite(norm)]
            taped = found.get(shared.get(self.taped, self.taped), math.nan)
            return ArrivedFacts(found, scale, divisor, wrong, self._divided(read, divisor), taped, shared)

        return arrived

    def _shared(self) -> dict[str, str]:
        """Find curves that are another one's: optimizers that step for the same losses have one. Return whose."""
        if len(self._curves) < 2:  # as it is nearly always, at every light step
            return {}
        numbers = {curve: [[each.number for each in one] for one in steps] for curve, steps in self._curves.items()}
        order = sorted(numbers, key=lambda curve: curve != MAIN)
        first = {curve: next(each for each in order if numbers[each] == numbers[curve]) for curve in order}
        return {curve: whose for curve, whose in first.items() if whose != curve}

    def _loss(self, curve: str, read: Mapping[str, list[float]]) -> float:
        """Return the mean loss of the optimizer steps that belong to a curve, whatever passes were divided by."""
        sizes, numbers = iter(read[LOSS + curve]), {name: iter(many) for name, many in read.items()}
        steps = []
        for passes in self._curves[curve]:
            losses = [sum(next(sizes) for _ in each.losses) for each in passes]
            known = ((each, [next(numbers[_divisor(curve, n)]) for n, _ in each.division.numbers]) for each in passes)
            divisors = [each.division.divisors(arrived) for each, arrived in known]
            steps.append(whole_loss(losses, divisors, self.parts, self.window))
        return sum(steps) / len(steps)

    def _divided(self, read: Mapping[str, list[float]], divisor: float) -> float:
        """Find by how much somebody divided all gradients before the step; 1 if nobody did, or not all alike."""
        before, after = read.get("after backward", []), read.get("norms", [])
        if before and self.clipped == len(before) and not self.clipping.scaled:  # clipping has changed them, too
            before, after = [total_norm(before)], [total_norm(read["unclipped"]) / divisor]
        pairs = [(b, a * divisor) for b, a in zip(before, after, strict=False) if a and math.isfinite(b)]
        if not pairs or len(before) != len(after):
            return 1.0
        factors = [b / a for b, a in pairs if a > 0]
        alike = factors and max(factors) <= min(factors) * (1 + 1e-4)
        return factors[0] if alike else 1.0

    def _unclipped(self, read: Mapping[str, list[float]], scale: float, norm: float) -> float:
        if self.clipped and self.clipped == self.gradients:
            return total_norm(read["unclipped"]) / (scale if self.clipping.scaled else 1.0)
        if "after backward" in read:
            return total_norm(read["after backward"]) / scale
        return math.nan if self.altered or self.clipped else norm


@dataclass(frozen=True, slots=True)
class ArrivedFacts:
    """Facts of a step that have arrived on the host.

    Attributes:
        values: scalars of a Run, see `undertow.record.SCALARS`.
        scale: the loss's.
        divisor: by which the optimizer itself divides the gradients.
        nonfinite: parameters whose gradient isn't finite.
        divided: by what all gradients were divided between the backward pass and the step.
        taped_loss: the loss whose backward pass was taped; nan if none was.
        shared: curves of losses that aren't there, as they are another one's, and whose.
    """

    values: dict[str, float]
    scale: float = 1.0
    divisor: float = 1.0
    nonfinite: Sequence[str] = ()
    divided: float = 1.0
    taped_loss: float = math.nan
    shared: Mapping[str, str] = field(default_factory=dict)


def _divisor(curve: str, number: Tensor) -> str:
    """Name a kind of the numbers that losses were divided by."""
    return f"{DIVISOR}{curve}:{number.dtype}"


def may_have_overflowed(values: Mapping[str, float], precise: bool) -> bool:
    """Tell whether a norm may be infinite because float32 couldn't hold the squares: the loss is finite then.

    Example:
        >>> may_have_overflowed({"grad_norm": math.inf, "loss": 2.0}, precise=False)
        True
    """
    return math.isinf(values["grad_norm"]) and not precise and math.isfinite(values.get("loss", 0.0))


def total_norm(norms: Sequence[float]) -> float:
    """Return the norm of the whole from those of its parts.

    Example:
        >>> total_norm([3.0, 4.0])
        5.0
    """
    return math.hypot(*norms) if all(map(math.isfinite, norms)) else _lost(norms)


def _lost(norms: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, norms)) else math.inf

"""UR3xx, level C: layers that a forward pass makes anew each time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from undertow.diagnosis import Diagnosis
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import functions_called, rewire
from undertow.training import Training

KEPT = "made_once"
"""The name of the parameters that are kept."""


@remedy("UR323", "layers made once, not at every pass", "C", ["UT502", "UT704", "UT405"])
def made_once(training: Training) -> Training:
    """Keep the parameters of layers that a forward pass makes, and use them at every pass.

    What it changes:
        Parameters that a first pass makes are kept by the model, and stand in for those that later passes make, in the
        order in which they are used.
    When:
        A layer is made within ``forward``: it is another one at every step, of random weights that nobody trains.
    Predicts:
        It learns, and the same input has the same output.
    References:
        PyTorch documentation, nn.Module: submodules are assigned in ``__init__``.
    """
    return on_model(training, _Keep(training))


@dataclass(frozen=True)
class _Keep:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        noting = _Noting()
        functions_called(model, self.training, noting)
        if not noting.found:
            raise ValueError("no forward pass of the model makes parameters")
        model.register_module(KEPT, nn.ParameterList(nn.Parameter(each.detach().clone()) for each in noting.found))
        rewire(model, _Keeping())


@dataclass
class _Noting:
    """Notes parameters that passes make, as data; it makes a mode for a model."""

    found: list[Tensor] = field(default_factory=list)

    def of(self, model: nn.Module) -> "_Once":
        """Make a mode for one call, the last of which counts."""
        self.found = []
        return _Once(model, (), self.found)


@dataclass(frozen=True)
class _Keeping:
    """Uses what a model has kept, as data; it makes a mode for a model."""

    def of(self, model: nn.Module) -> "_Once":
        """Make a mode for one call."""
        return _Once(model, tuple(model.get_submodule(KEPT).parameters()), [])


class _Once(TorchFunctionMode):
    """Uses kept parameters in place of those that aren't the model's own.

    Args:
        model: whose pass it is.
        kept: what is used, in order.
        met: takes those that aren't the model's own; they are held on to, so that no other one gets their place.
    """

    def __init__(self, model: nn.Module, kept: Sequence[Tensor], met: list[Tensor]) -> None:
        super().__init__()
        self._own = {id(parameter) for parameter in model.parameters()}
        self._kept, self._met, self.replaced = kept, met, list[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it with what was kept; what draws weights, in place, is left as it is."""
        del types
        name, keywords = getattr(func, "__name__", ""), kwargs or {}
        if name.endswith("_"):
            return func(*args, **keywords)
        given = [self._instead(each) for each in args]
        return func(*given, **{key: self._instead(each) for key, each in keywords.items()})

    def _instead(self, given: Any) -> Any:
        if type(given) in (list, tuple):
            return type(given)(self._instead(each) for each in given)
        if not isinstance(given, nn.Parameter) or id(given) in self._own:
            return given
        place = next((i for i, each in enumerate(self._met) if each is given), len(self._met))
        if place == len(self._met):
            self._met.append(given)
        fits = place < len(self._kept) and self._kept[place].shape == given.shape
        return self._kept[place] if fits else given


@made_once.proposes
def _proposed_once(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("loss", {}).get("passing"):
        yield Proposal({}, "a forward pass makes parameters of its own, which are gone behind it", 1.0)


@made_once.written
def _once_lines() -> str:
    return "# in __init__(): self.layer = nn.Linear(...), before the optimizer; in forward(): self.layer(x)"

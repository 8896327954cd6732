"""`TrainingModes`: the modules of a model that behave otherwise in evaluation, and which of them are in that mode."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


class ModeModule(NamedTuple):
    """A module whose result depends on its mode.

    Attributes:
        name: its path.
        module: itself.
        parent: the module that holds it; itself where it is the model.
        normalises: whether it normalises by its batch in training; else it drops at random.
    """

    name: str
    module: nn.Module
    parent: nn.Module
    normalises: bool


class TrainingModes:
    """Knows the modules of a model whose result depends on whether they are in training or evaluation mode.

    Args:
        model: looked through once.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).eval()
        >>> modes = TrainingModes(net)
        >>> modes.evaluating, modes.facts(lambda parameter: True)["norms"]
        (2, ['1'])
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._modules = tuple(_mode_modules(model))

    @property
    def evaluating(self) -> int:
        """Count the modules that are in evaluation mode together with what holds them."""
        return sum(not each.module.training and not each.parent.training for each in self._modules)

    @property
    def any_evaluates(self) -> bool:
        """Tell whether any module is in evaluation mode, alone or with what holds it."""
        return not all(each.module.training for each in self._modules)

    def facts(self, trains: Callable[[Tensor], bool]) -> dict[str, list[str]]:
        """Name the modules that are in evaluation mode while their network trains.

        Args:
            trains: whether a parameter is trained.

        Returns:
            ``norms`` and ``dropouts``: names of modules in evaluation mode together with what holds them, as after
            ``model.eval()``; ``norms alone``: of normalisations that are in it by themselves, as on purpose.
        """
        found: dict[str, list[str]] = {"norms": [], "dropouts": [], "norms alone": []}
        for each in self._modules:
            if each.module.training or not any(map(trains, _judged_by(each))):
                continue
            if not each.parent.training:
                found["norms" if each.normalises else "dropouts"].append(each.name)
            elif each.normalises:
                found["norms alone"].append(each.name)
        return found


def _judged_by(each: ModeModule) -> Iterator[Tensor]:
    """Yield the parameters that tell whether a module's network trains: its own, or of what holds it."""
    own = list(each.module.parameters())
    yield from own or each.parent.parameters()


def _mode_modules(model: nn.Module) -> Iterator[ModeModule]:
    named = list(model.named_modules())
    normalising = {id(module) for _, module in named if isinstance(module, _BatchNorm) and module.track_running_stats}
    found = [(name, module) for name, module in named if id(module) in normalising or _drops(module)]
    parents = {id(child): parent for _, parent in named for child in parent.children()} if found else {}
    for name, module in found:
        yield ModeModule(name, module, parents.get(id(module), module), id(module) in normalising)


def _drops(module: nn.Module) -> bool:
    share = getattr(module, "p", 0.0) if isinstance(module, _DropoutNd) else 0.0
    if isinstance(module, (nn.RNNBase, nn.MultiheadAttention)):
        share = module.dropout
    return float(share) > 0

"""`reset_test`: is every layer really trained? What is lost when one is set back to where it began."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undertow.training import random_numbers_kept


@dataclass(frozen=True)
class Reset:
    """Hold what became of a trained model when one of its modules was set back.

    Attributes:
        module: its path.
        trained: score of the model as trained.
        initial: score with this module's parameters as they were before training.
        random: score with this module drawn anew; nan where it can't draw by itself.
        moved: ||w - w_0|| / ||w_0|| of its parameters.
    """

    module: str
    trained: float
    initial: float
    random: float
    moved: float

    @property
    def lost(self) -> float:
        """Return what setting it back costs: near zero, the module was hardly trained or isn't needed."""
        return self.trained - self.initial


def reset_test(
    model: nn.Module, initial_state: Mapping[str, Tensor], evaluate: Callable[[nn.Module], float], seed: int = 0
) -> list[Reset]:
    """Set every module back by itself, to its initial and to fresh random weights, and score the model each time.

    The model is copied; yours stays as it is. (Zhang, Bengio, Singer 2019, "Are all layers created equal?")

    Args:
        model: as trained.
        initial_state: its ``state_dict()`` before training, copied at that time.
        evaluate: scores a model; larger is better.
        seed: of the random weights.

    Returns:
        One result for every module that has parameters of its own, in the model's order.

    Raises:
        ValueError: the initial state is of another model.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> before = {name: value.clone() for name, value in net.state_dict().items()}
        >>> with torch.no_grad():
        ...     _ = net[1].weight.add_(1.0)
        >>> [(each.module, each.moved > 0) for each in reset_test(net, before, lambda m: float(m[1].weight.sum()))]
        [('0', False), ('1', True)]
    """
    missing = [name for name, _ in model.named_parameters() if name not in initial_state]
    if missing:
        raise ValueError(
            f"initial_state has no {missing[0]}: take model.state_dict() of this very model before training"
        )
    trained = _score(model, evaluate)
    own = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))]
    return [_tested(model, name, initial_state, evaluate, trained, seed) for name in own]


def _tested(
    model: nn.Module,
    name: str,
    initial: Mapping[str, Tensor],
    evaluate: Callable[[nn.Module], float],
    trained: float,
    seed: int,
) -> Reset:
    twin = copy.deepcopy(model)
    module = twin.get_submodule(name)
    parameters = dict(module.named_parameters(recurse=False))
    before = {key: initial[f"{name}.{key}" if name else key] for key in parameters}
    moved = sum(float((p.detach() - before[key]).square().sum()) for key, p in parameters.items())
    size = sum(float(value.square().sum()) for value in before.values())
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(before[key])
    back = _score(twin, evaluate)
    return Reset(name, trained, back, _redrawn(twin, module, evaluate, seed), (moved / size) ** 0.5 if size else 0.0)


def _redrawn(twin: nn.Module, module: nn.Module, evaluate: Callable[[nn.Module], float], seed: int) -> float:
    draw = getattr(module, "reset_parameters", None)
    if not callable(draw):
        return float("nan")
    with random_numbers_kept():
        torch.manual_seed(seed)
        draw()
    return _score(twin, evaluate)


def _score(model: nn.Module, evaluate: Callable[[nn.Module], float]) -> float:
    with torch.no_grad():
        return float(evaluate(model))

"""A model's modules and parameters by path, in torch's order, without its generators within generators."""

from collections.abc import Mapping

from torch import nn


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return what ``dict(model.named_modules())`` is, in a fraction of the time for deep or long models.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.Tanh()), nn.ReLU())
        >>> list(modules_of(net))
        ['', '0', '0.0', '1']
    """
    if type(model).named_modules is not nn.Module.named_modules:
        return dict(model.named_modules())
    found: dict[str, nn.Module] = {}
    known: set[int] = set()
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:
        path, module = waiting.pop()
        if id(module) in known:
            continue
        known.add(id(module))
        found[path] = module
        if module._modules:  # most have none
            held = [(f"{path}.{name}" if path else name, each) for name, each in module._modules.items()]
            waiting += [(below, each) for below, each in reversed(held) if each is not None]
    return found


def parameters_of(model: nn.Module, modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """Return what ``dict(model.named_parameters())`` is.

    Args:
        model: may name others than its modules hold, as another framework's does.
        modules: of the model, as `modules_of` returned them.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> net[1].weight = net[0].weight
        >>> list(parameters_of(net, modules_of(net)))
        ['0.weight', '0.bias', '1.bias']
    """
    if not names_what_it_holds(model):
        return dict(model.named_parameters())
    found: dict[str, nn.Parameter] = {}
    known: set[int] = set()
    for path, module in modules.items():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in known:
                known.add(id(parameter))
                found[f"{path}.{name}" if path else name] = parameter
    return found


def names_what_it_holds(model: nn.Module) -> bool:
    """Tell whether a model names the parameters that its modules hold, as torch's own function does.

    Example:
        >>> names_what_it_holds(nn.Linear(1, 1))
        True
    """
    kind = type(model)
    return kind.named_parameters is nn.Module.named_parameters and "named_parameters" not in vars(model)

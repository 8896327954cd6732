"""UR3xx, level C: modules that nobody finds, and dropout."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import fresh
from undertow.remedies.changing import on_model
from undertow.remedies.dropping import Capped
from undertow.remedies.facts import known_facts
from undertow.remedies.loss_inputs import bare_weights
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import functions_called, rewire
from undertow.training import Training


@remedy("UR308", "modules that are kept in lists registered", "C", ["UT502"])
def register(training: Training) -> Training:
    """Register modules that the model keeps in a plain list or dict, so that the optimizer finds their parameters.

    What it changes:
        Lists and tuples of modules become ``nn.ModuleList``, dicts ``nn.ModuleDict``.
    When:
        Layers are used and are no parameters of the model, so nobody trains them.
    Predicts:
        They learn.
    References:
        PyTorch documentation, torch.nn.ModuleList.
    """
    return on_model(training, _register)


def _register(model: nn.Module) -> None:
    found = [(module, *rest) for module in model.modules() for rest in _held_in(module)]
    if not found:
        raise ValueError("the model keeps no modules in a plain list or dict")
    for module, name, value in found:
        delattr(module, name)
        setattr(module, name, nn.ModuleDict(value) if isinstance(value, dict) else nn.ModuleList(value))


def _all_modules(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and isinstance(each, nn.Module) for key, each in value.items())
    return isinstance(value, list | tuple) and all(isinstance(each, nn.Module) for each in value)


@register.proposes
def _proposed_registration(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT502" for finding in diagnosis.findings):
        yield Proposal({}, "layers take gradient and are no parameters of the model", 1.0)


@register.written
def _register_lines() -> str:
    return "model.layers = nn.ModuleList(model.layers)  # wherever a plain list holds modules"


@register.written_for
def _register_lines_for(training: Training) -> str:
    held = [(name, *rest) for name, module in fresh(training).named_modules() for rest in _held_in(module)]
    lines = []
    for path, name, value in held:
        owner = f"model.{path}" if path else "model"
        kind = "ModuleDict" if isinstance(value, dict) else "ModuleList"
        lines.append(f"{owner}.{name} = nn.{kind}({owner}.{name})")
    return "\n".join(lines)


def _held_in(module: nn.Module) -> list[tuple[str, Any]]:
    """Return names and values of the plain lists and dicts of modules that a module keeps."""
    found = [(name, value) for name, value in vars(module).items() if value and not name.startswith("_")]
    return [(name, value) for name, value in found if _all_modules(value)]


@remedy("UR322", "weights that are tensors made parameters", "C", ["UT502"])
def parameters(training: Training) -> Training:
    """Make parameters of the tensors that a model holds and that require gradients.

    What it changes:
        Tensors that are attributes of a module, require gradients and are no ``nn.Parameter`` become one, of the same
        values; also those that something was computed for, such as a parameter that was multiplied or moved.
    When:
        Weights are used and get a gradient, and no optimizer hears of them.
    Predicts:
        They learn.
    References:
        PyTorch documentation, nn.Parameter.
    """
    return on_model(training, _parameters)


def _parameters(model: nn.Module) -> None:
    found = list(bare_weights(model))
    if not found:
        raise ValueError("the model holds no tensor that requires gradients and is no parameter")
    for module, _, name, value in found:
        delattr(module, name)
        setattr(module, name, nn.Parameter(value.detach().clone()))


@parameters.proposes
def _proposed_parameters(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if bare := known_facts(diagnosis).get("bare"):
        yield Proposal({}, f"{', '.join(bare[:3])} take gradient and are no parameters of the model", 1.0)


@parameters.written
def _parameters_lines() -> str:
    return "# in __init__(): self.weight = nn.Parameter(weight) in place of self.weight = weight, before the optimizer"


@parameters.written_for
def _parameters_lines_for(training: Training) -> str:
    names = [f"model.{path}.{name}" if path else f"model.{name}" for _, path, name, _ in bare_weights(fresh(training))]
    return "\n".join(f"value = {name}\ndel {name}\n{name} = nn.Parameter(value.detach().clone())" for name in names)


@remedy("UR309", "less dropout", "C", ["UT704"])
def less_dropout(training: Training, p: float = 0.1) -> Training:
    """Lower the rate of every dropout.

    What it changes:
        ``p`` of dropout modules, of recurrent layers' own, of attention's, and of calls of ``F.dropout``.
    When:
        Most of what a layer makes is thrown away, and the network can't even learn what it is trained on.
    Predicts:
        The gradient's noise falls.
    References:
        Srivastava et al. 2014.
    """
    return on_model(training, partial(_less_dropout, p=p, calls=_calls_drop(training, p)))


def _calls_drop(training: Training, p: float) -> bool:
    """Tell whether functions drop more than a rate that no module has."""
    model = fresh(training)
    _less_dropout(model, p, False)
    return bool(training.batches) and bool(functions_called(model, training, Capped(p)))


def _less_dropout(model: nn.Module, p: float, calls: bool) -> None:
    if calls:
        rewire(model, Capped(p))
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = min(module.p, p)
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = min(float(module.dropout), p)  # type: ignore[arg-type,assignment]  # a float: just asked


@less_dropout.proposes
def _proposed_dropout(diagnosis: Diagnosis) -> Iterator[Proposal]:
    rate = float(known_facts(diagnosis).get("dropout", 0.0))
    lost = any(finding.code == "UT704" for finding in diagnosis.findings)
    if rate > 0.6 or (lost and rate > 0.2):
        yield Proposal({"p": 0.1}, f"dropout throws {rate:.0%} away", 0.8 if rate > 0.6 else 0.5)
    elif rate > 0.3:
        yield Proposal({"p": 0.1}, f"dropout throws {rate:.0%} away", 0.35)


@less_dropout.written
def _dropout_lines(p: float = 0.1) -> str:
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)):\n"
        f"        module.p = min(module.p, {p:g})\n"
        '    elif isinstance(getattr(module, "dropout", None), float):  # attention, recurrent layers\n'
        f"        module.dropout = min(module.dropout, {p:g})"
    )


@less_dropout.written_for
def _dropout_lines_for(training: Training, p: float = 0.1) -> str:
    inside = f"\n# and in forward(): F.dropout(x, {p:g}, self.training)" if _calls_drop(training, p) else ""
    return _dropout_lines(p) + inside

"""UR1xx, level A: which parameters are trained."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn
from torch.optim import Optimizer

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import run_loss
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training


@remedy("UR107", "give the optimizer the parameters it lacks", "A", ["UT407", "UT105", "UT104"])
def add_parameters(training: Training) -> Training:
    """Add the model's parameters that no group of the optimizer holds.

    What it changes:
        A parameter group more; or, if the optimizer holds none of this model's, one of the same kind over all.
    When:
        Parameters get gradient and no step: they were made after the optimizer, or it is another model's.
    Predicts:
        Their steps are no longer zero.
    References:
        PyTorch documentation, torch.optim: "construct the optimizer after moving or changing the model".
    """
    return replace(training, optimizer=_Complete(training))


@dataclass(frozen=True)
class _Complete:
    training: Training

    def __call__(self, model: nn.Module) -> Optimizer:
        optimizer = self.training.optimizer(model)
        if self.training.batches:
            run_loss(model, self.training)  # a model may make layers at its first pass
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        lacking = [p for p in model.parameters() if p.requires_grad and id(p) not in held]
        if len(lacking) == sum(p.requires_grad for p in model.parameters()):
            settings = {key: value for key, value in optimizer.param_groups[0].items() if key in optimizer.defaults}
            return type(optimizer)(lacking, **settings)
        if lacking:
            optimizer.add_param_group({"params": lacking})
        return optimizer


@add_parameters.proposes
def _proposed_parameters(diagnosis: Diagnosis) -> Iterator[Proposal]:
    lacking = int(known_facts(diagnosis).get("lacking", 0))
    if lacking or any(finding.code == "UT407" for finding in diagnosis.findings):
        yield Proposal({}, "parameters get gradient and no step", 1.0 if lacking != 0 else 0.5)


@add_parameters.written
def _add_parameters_lines() -> str:
    return (
        "# behind the first forward pass, where layers are made in it\n"
        'held = {id(p) for group in optimizer.param_groups for p in group["params"]}\n'
        "lacking = [p for p in model.parameters() if p.requires_grad and id(p) not in held]\n"
        'optimizer.add_param_group({"params": lacking})'
    )


@remedy("UR114", "frozen parameters trained", "A", ["UT501", "UT704"])
def unfreeze(training: Training) -> Training:
    """Let all parameters take gradient.

    What it changes:
        ``requires_grad`` of every parameter, before the optimizer is made.
    When:
        Parameters are frozen, and what is left to train can't learn it.
    Predicts:
        They move.
    References:
        PyTorch documentation, autograd mechanics: "locally disabling gradient computation".
    """
    return on_model(training, _unfreeze)


def _unfreeze(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(True)


@unfreeze.proposes
def _proposed_unfreezing(diagnosis: Diagnosis) -> Iterator[Proposal]:
    frozen = int(known_facts(diagnosis).get("frozen", 0))
    if frozen:
        yield Proposal({}, f"{frozen} parameters are frozen", 0.8 if unlearned(diagnosis) else 0.5)


@unfreeze.written
def _unfreeze_lines() -> str:
    return "for parameter in model.parameters():  # before the optimizer is made\n    parameter.requires_grad_(True)"

"""`examine`: one forward and backward pass of any PyTorch model, read, split into causes and judged."""

import platform
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from undertow.diagnosis import Diagnosis
from undertow.examination.passes import ComputeLoss, Passes
from undertow.examination.surroundings import eager
from undertow.examination.untouched import Untouched
from undertow.record import Finding, Run
from undertow.report import Report
from undertow.rules import ut1_progress, ut2_likeness, ut4_optimizer
from undertow.rules.judging import findings_of
from undertow.tape.lazy import refuse_lazy
from undertow.tape.members import modules_of, parameters_of

__all__ = ["Report", "examine"]

STEPS_AHEAD = 10
"""Steps after which layers that stand still are called frozen; LayerScale of 1e-5 opened within them."""


def examine(
    model: nn.Module,
    compute_loss: ComputeLoss,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    repeats: int = 1,
) -> Report:
    """Say how the gradient gets from the loss to the first layer, what becomes of it and why.

    The model is left as it was: parameters, gradients, buffers, random numbers, training mode and hooks, after Ctrl-C,
    too. Compiled models are run eagerly; RNN modules step by step. Examinations in several threads take turns.

    Args:
        model: in the mode to examine it in, as a rule ``model.train()``.
        compute_loss: computes the loss anew and returns it, a scalar tensor; without calling backward.
        optimizer: tried on copies, for update ratios and each layer's share of the progress; several, where the
            model's halves have one each. Without one gradient descent is assumed.
        repeats: passes to make. A finding's confidence is the share of them that it holds in; let ``compute_loss``
            take another batch each time, or rely on dropout.

    Raises:
        TypeError: ``model`` is no module, ``compute_loss`` not callable, ``optimizer`` none, or what ``compute_loss``
            returned no tensor.
        ValueError: there is no gradient to follow, and a training would raise as well; the message says why. (Where it
            would go on without a word, as from ``torch.tensor(loss.item(), requires_grad=True)``, UT501 is found.)
        RuntimeError: ``compute_loss`` changed parameters or stepped an optimizer.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> layers = [nn.Sequential(nn.Linear(20, 20), nn.Sigmoid()) for _ in range(8)]
        >>> net, x = nn.Sequential(*layers), torch.randn(50, 20)
        >>> report = examine(net, lambda: net(x).square().mean())
        >>> "UT101" in {finding.code for finding in report.findings}
        True
    """
    _check(model, compute_loss, repeats)
    optimizers = _optimizers(optimizer)
    untouched = Untouched(model)
    with untouched, untouched:
        untouched.begin()  # before anything else is set, as it is what is put back
        with torch.inference_mode(False), torch.enable_grad(), eager():
            passes = Passes(model, untouched.interruptible(compute_loss), optimizers)
            runs = [passes.examine(untouched.random_states), *(passes.examine() for _ in range(repeats - 1))]
            findings: list[Finding] = []
            seen = [Diagnosis(run, findings=findings) for run in runs]
            _look_ahead(passes, seen)
            untouched.check()
        run = _stack(runs, _header(model, passes.parameters.values()))
        findings += findings_of(seen)
        # Of one run the report shows what the rules worked out.
        return Report(seen[0] if run is runs[0] else Diagnosis(run, 0, findings))


def _look_ahead(passes: Passes, seen: Sequence[Diagnosis]) -> None:
    """See what becomes of layers that seem frozen, of examples all alike, of long steps, within some: that decides."""
    worth = (ut1_progress.frozen, ut4_optimizer.long_steps, ut2_likeness.all_alike)
    if not passes.steps_can_be_tried or not all(each.run.sites for each in seen):
        return
    if not any(rule(each) for each in seen for rule in worth):
        return
    later = passes.ahead(STEPS_AHEAD)
    if later is None:
        return
    shares = {name: half.share for name, half in ut1_progress.halves(Diagnosis(later)).items()}
    alike = ut2_likeness.hardly_apart(Diagnosis(later))
    for each in seen:
        each.run.header["ahead"] = {"steps": STEPS_AHEAD, "loss": later.header["loss"], "alike": alike, **shares}


def _check(model: object, compute_loss: object, repeats: int) -> None:
    if not isinstance(model, nn.Module):
        swapped = ": the model comes first, as in examine(model, compute_loss)" if callable(model) else ""
        raise TypeError(f"model is a {type(model).__name__}, not a torch.nn.Module{swapped}")
    if not callable(compute_loss):
        raise TypeError(
            f"compute_loss is a {type(compute_loss).__name__}: give a function that computes the loss, "
            "as in examine(model, lambda: loss_function(model(x), y))"
        )
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}, but at least one pass must be made")
    parameters = parameters_of(model, modules_of(model)).values()
    if any(type(p) is not nn.Parameter for p in parameters):
        refuse_lazy(model)
    if not any(p.requires_grad for p in parameters):
        raise ValueError(
            "the model has no parameters that require grad" if parameters else "the model has no parameters"
        )
    if any(p.is_meta for p in parameters):
        raise ValueError("the model is on the meta device and has no numbers: put it on a real one first")


def _optimizers(given: object) -> list[Optimizer]:
    many: list[object] = [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
    for each in many:
        if not callable(getattr(each, "step", None)) or not hasattr(each, "param_groups"):
            raise TypeError(
                f"optimizer is a {type(each).__name__}, not a torch.optim.Optimizer: "
                "give the one that trains the model, as in torch.optim.Adam(model.parameters())"
            )
    return many  # type: ignore[return-value]  # whatever steps parameter groups can be tried on a copy


def _header(model: nn.Module, parameters: Collection[nn.Parameter]) -> dict[str, object]:
    return {
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in parameters),
        "devices": sorted(map(str, {p.device for p in parameters})),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _stack(runs: Sequence[Run], header: dict[str, object]) -> Run:
    """Return the repeats through the same Sites as the first one, as steps of one Run; the first one if it is alone."""
    first = runs[0]
    if len(runs) == 1:
        first.header = {**header, **first.header, "repeats": 1, "repeats_kept": 1}
        first.steps = {"step": np.zeros(1), "loss": np.array([first.header["loss"]])}
        return first
    same = [run for run in runs if (run.sites, run.edges) == (first.sites, first.edges)]
    return Run(
        {**header, **first.header, "repeats": len(runs), "repeats_kept": len(same)},
        first.sites,
        first.edges,
        {name: np.concatenate([run.columns[name] for run in same]) for name in first.columns},
        {name: np.concatenate([run.edge_columns[name] for run in same]) for name in first.edge_columns},
        {
            "step": np.arange(len(same), dtype=float),
            "loss": np.array([run.header["loss"] for run in same]),
        },
    )

"""The contract of a remedy: it does what its level allows, the user's objects stay, and its lines do the same."""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow.remedies import KINDS, Level, Remedy, apply
from undertow.remedies.explained import OURS, sections
from undertow.remedies.registry import SECTIONS
from undertow.testing.explained import hold_code, hold_letters, hold_lines, hold_sections
from undertow.training import Training, random_numbers_kept

SEED = 0
CLOSE = 1e-4
"""Part of a loss by which the treated model's and the pasted one's may differ."""


def check_remedy(
    code: str, training: Training, settings: Mapping[str, Any] | None = None, *, pasted: bool = True
) -> None:
    """Hold a remedy to its contract.

    Level A must leave the model's parameters as they are, and its function; level B names and shapes. A treated model
    must give a finite loss and a finite gradient to what had one before. And its snippet, run behind the lines that
    make ``model`` and ``optimizer``, must make the same model and the same optimizer.

    Args:
        code: of the remedy.
        training: one that it changes.
        settings: numbers to change it with.
        pasted: whether its snippet is run; False where its lines stand in the loop or in the loss.

    Raises:
        AssertionError: it doesn't keep the contract; the message says where.

    Example:
        >>> net = lambda: nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1))
        >>> sgd = lambda model: torch.optim.SGD(model.parameters(), lr=1.0)
        >>> training = Training(net, [torch.ones(4, 2)], lambda model, x: model(x).square().mean(), sgd)
        >>> check_remedy("UR101", training, {"factor": 0.1})
    """
    __tracebackhide__ = True
    check_explained(code)
    cure = Remedy(code, dict(settings or {}))
    kept, before = dict(vars(training)), _made(training)
    treated = apply(cure, training)
    if not isinstance(treated, Training):
        raise AssertionError(f"{code} makes a {type(treated).__name__} of a Training")
    after = _made(treated)
    if dict(vars(training)) != kept:
        raise AssertionError(f"{code} changes the training that it is applied to")
    if not _same(before, _made(training)):
        raise AssertionError(f"{code} changes what the user's model() makes")
    _check_level(cure, training, before, after)
    _check_gradients(cure, training, treated)
    _check_survives_json(cure.written_for(training))
    if pasted and not cure.kind.by_hand:
        _check_pasted(cure.written_for(training), training, treated)


def check_explained(code: str) -> None:
    """Hold a remedy's docstring to what ``undertow remedy`` shows of it.

    Raises:
        AssertionError: there is no such remedy, or a section is missing, empty or out of order.

    Example:
        >>> check_explained("UR101")
    """
    __tracebackhide__ = True
    hold_code(code, "remedy", KINDS)
    hold_letters(code, OURS, "remedies", [KINDS[code].apply.__module__])
    hold_sections(code, sections(KINDS[code]), SECTIONS)


def run_snippet(snippet: str, training: Training, seed: int = SEED) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Run a snippet behind the lines that make a training's model and optimizer, and return these.

    The snippet knows ``torch``, ``nn``, ``F``, ``model``, ``optimizer``, ``x`` (a batch), ``x_train`` and ``y_train``.

    Example:
        >>> training = Training(lambda: nn.Linear(2, 1), [torch.ones(4, 2)], lambda model, x: model(x).sum(),
        ...                     lambda model: torch.optim.SGD(model.parameters(), lr=1.0))
        >>> run_snippet("model = nn.Sequential(model, nn.ReLU())", training)[0][1]
        ReLU()
    """
    known: dict[str, Any] = {"torch": torch, "nn": nn, "F": functional}
    batches = [batch if isinstance(batch, tuple | list) else (batch,) for batch in training.sample(32)]
    known["x"] = batches[0][0]
    for place, name in enumerate(("x_train", "y_train")):
        if all(len(batch) > place and isinstance(batch[place], Tensor) for batch in batches):
            known[name] = torch.cat([batch[place] for batch in batches])
    with random_numbers_kept():  # what is drawn after the model, apply draws, too
        torch.manual_seed(seed)
        known["model"] = training.model()
        known["optimizer"] = training.optimizer(known["model"])
        exec(snippet, known)  # noqa: S102  # to be pasted and run is what it is for
    return known["model"], known["optimizer"]


def _made(training: Training, seed: int = SEED) -> nn.Module:
    with random_numbers_kept():
        torch.manual_seed(seed)
        return training.model()


def _same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _check_level(cure: Remedy, training: Training, before: nn.Module, after: nn.Module) -> None:
    __tracebackhide__ = True
    if cure.level in (Level.A, Level.B) and _shapes(before) != _shapes(after):
        raise AssertionError(f"{cure.code} is of level {cure.level} and changes the parameters")
    if cure.level is Level.A:
        if not _same(before, after):
            raise AssertionError(f"{cure.code} is of level A and changes the weights")
        losses = [_loss(training, model) for model in (before, after)]
        if losses[0] != losses[1]:
            raise AssertionError(f"{cure.code} is of level A and changes what the model computes")


@contextmanager
def _of_the_user() -> Iterator[None]:
    """Let the user's loss warn and draw as it likes: some remedies are for losses that do."""
    with random_numbers_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _loss(training: Training, model: nn.Module) -> float:
    with _of_the_user():
        torch.manual_seed(SEED + 1)  # of dropout
        return float(training.loss(model, training.sample(1)[0]).detach())


def _gradients(training: Training) -> dict[str, Tensor]:
    model = _made(training)
    with _of_the_user():
        training.loss(model, training.sample(1)[0]).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _check_gradients(cure: Remedy, training: Training, treated: Training) -> None:
    __tracebackhide__ = True
    before, after = _gradients(training), _gradients(treated)
    shapes = _shapes(_made(treated))
    cut = [name for name in before if name in shapes and name not in after]
    if cut:
        raise AssertionError(f"under {cure.code} no gradient reaches {cut[0]}, which had one")
    bad = [name for name, gradient in after.items() if not gradient.isfinite().all()]
    if bad:
        raise AssertionError(f"under {cure.code} the gradient of {bad[0]} is not finite")
    if _shapes(deepcopy(_made(treated))) != shapes:
        raise AssertionError(f"a model that {cure.code} treats can't be copied")


def _check_survives_json(cure: Remedy) -> None:
    __tracebackhide__ = True
    back = Remedy.from_dict(json.loads(json.dumps(cure.to_dict())))
    same = back == cure and back.snippet == cure.snippet
    if not same:
        raise AssertionError(f"{cure.code} is another remedy when it was written as JSON and read")


def _check_pasted(cure: Remedy, training: Training, treated: Training) -> None:
    __tracebackhide__ = True
    if not cure.snippet.strip():
        raise AssertionError(f"{cure.code} has no lines to paste: give it some by @remedy.written")
    hold_lines(cure.code, cure.snippet)
    applied = _made(treated)
    model, optimizer = run_snippet(cure.snippet, training)
    if _listed(applied) != _listed(model):
        raise AssertionError(f"what is pasted for {cure.code} has other parameters than apply makes")
    losses = _loss(treated, applied), _loss(training, model)
    close = abs(losses[0] - losses[1]) <= CLOSE * max(map(abs, losses))
    if not close:
        raise AssertionError(
            f"what is pasted for {cure.code} has a loss of {losses[1]:.6g}, and apply makes one of {losses[0]:.6g}"
        )
    if cure.level is Level.A:
        made = _settings(treated.optimizer(applied))
        told = f"what is pasted for {cure.code} makes another optimizer than apply does"
        if made != _settings(optimizer):
            raise AssertionError(told)


def _listed(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in model.parameters()]


def _settings(optimizer: torch.optim.Optimizer) -> tuple[type, list[dict[str, Any]]]:
    filled = [group for group in optimizer.param_groups if group["params"]]
    return type(optimizer), [{**group, "params": [tuple(p.shape) for p in group["params"]]} for group in filled]

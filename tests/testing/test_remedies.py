"""Every way of breaking a remedy's contract is named."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from undertow.remedies import remedy
from undertow.testing import check_remedy
from undertow.training import Training


def training():
    sgd = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)  # noqa: E731
    model = lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))  # noqa: E731
    return Training(model, [torch.ones(4, 3)], lambda model, x: model(x).square().mean(), sgd)


def changed(training, change):
    def model():
        made = training.model()
        return change(made) or made

    return replace(training, model=model)


@torch.no_grad()
def halve(model):
    for parameter in model.parameters():
        parameter.mul_(0.5)


def freeze(model):
    model[0].requires_grad_(False)


HALVED = "with torch.no_grad():\n    for parameter in model.parameters():\n        parameter.mul_(0.5)"


@pytest.mark.parametrize(
    ("level", "change", "lines", "said"),
    [
        ("B", halve, HALVED, ""),
        ("B", halve, "pass", "what is pasted for AB201 has a loss of"),
        ("B", halve, "", "AB201 has no lines to paste"),
        ("B", halve, "for each in", "AB201 has lines to paste that are no Python"),
        ("A", halve, HALVED, "AB201 is of level A and changes the weights"),
        ("B", lambda model: model.append(nn.Linear(1, 1)), "pass", "AB201 is of level B and changes the parameters"),
        ("C", lambda model: model.append(nn.Linear(1, 1)), "pass", "other parameters than apply makes"),
        ("C", freeze, "model[0].requires_grad_(False)", "under AB201 no gradient reaches 0.weight, which had one"),
    ],
)
def test_what_a_remedy_does_wrong_is_named(level, change, lines, said):
    def apply(training):
        return changed(training, change)

    apply.__doc__ = "It changes.\n\n" + "\n".join(
        f"    {section}:\n        It is said." for section in ("What it changes", "When", "Predicts", "References")
    )
    kind = remedy("AB201", "changed", level)(apply)
    kind.written(lambda: lines)
    if not said:
        check_remedy("AB201", training())
        return
    with pytest.raises(AssertionError, match=said):
        check_remedy("AB201", training())

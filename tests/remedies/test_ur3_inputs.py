"""Inputs in standard units, and missing ones."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.remedies import Remedy, apply


def test_inputs_come_in_standard_units():
    training = patients.classes(patients.cnn, 1, 4, 4, scale=50.0)
    model, seen = patients.made(apply(Remedy("UR304"), training)), []
    model[0].register_forward_hook(lambda _module, given, _made: seen.append(given[0]))
    for x, _ in training.sample(3):
        model(x)
    assert float(torch.cat(seen).std()) == pytest.approx(1.0, rel=1e-2)


def test_missing_inputs_become_usual_ones():
    ill = patients.with_holes(patients.classes(lambda: nn.Linear(6, 3), 6))
    assert "UR314" in codes(ill)
    treated = apply(Remedy("UR314"), ill)
    assert treated.run(steps=5).diverged is None
    assert ill.run(steps=5).diverged == 0
    both = apply([Remedy("UR304"), Remedy("UR314")], ill)
    assert apply([Remedy("UR314"), Remedy("UR304")], ill).run(steps=5).diverged is None
    assert both.run(steps=5).diverged is None


class Named(nn.Module):
    """Takes its input by name, or within a dict."""

    def __init__(self, within):
        super().__init__()
        self.body, self.within = nn.Linear(6, 3), within

    def forward(self, given=None, x=None):
        return self.body(given["x"][0] if self.within else x)


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("code", ["UR304", "UR314"])
def test_inputs_by_name_are_changed_as_others_are(code, within):
    plain = patients.classes(lambda: nn.Linear(6, 3), 6, scale=50.0)
    plain = patients.with_holes(plain) if code == "UR314" else plain

    def loss(model, batch):
        made = model({"x": [batch[0]]}) if within else model(x=batch[0])
        return functional.cross_entropy(made, batch[1])

    named = replace(plain, model=lambda: Named(within), loss=loss)
    if not within:
        pasted, _ = patients.pasted(Remedy(code).written_for(named).snippet, named)
        x, y = plain.sample(1)[0]
        assert float(loss(pasted, (x, y)).detach()) == pytest.approx(loss_of(apply(Remedy(code), plain)), rel=1e-4)
    assert loss_of(apply(Remedy(code), named)) == pytest.approx(loss_of(apply(Remedy(code), plain)))

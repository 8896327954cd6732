"""Masks, axes and places of attention."""

import pytest
import torch

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply
from undertow.remedies.survey import surveyed

MASKS = {
    "masked_fill": lambda scores, hidden: scores.masked_fill(hidden, -torch.inf),
    "by name": lambda scores, hidden: scores.masked_fill(mask=hidden, value=-1e9),
    "where": lambda scores, hidden: torch.where(~hidden, scores, torch.tensor(-1e9)),
    "product": lambda scores, hidden: scores + -1e9 * hidden.float(),
    "sdpa": "sdpa",
}


@pytest.mark.parametrize("how", MASKS)
def test_a_mask_is_turned_round(how):
    ill = patients.classes(lambda: patients.Attentive(MASKS[how]), 7, 2)
    facts = surveyed(patients.made(ill), ill)
    assert facts.hidden == pytest.approx(5 / 7 if how == "sdpa" else 2 / 7)  # True is "take part" there
    assert how != "where" or "UR316" in codes(ill)
    treated = apply(Remedy("UR316"), ill)
    x = ill.sample(1)[0][0].requires_grad_()
    patients.made(treated)(x)[0].sum().backward()
    assert x.grad.isfinite().all()
    if how != "sdpa":
        well = patients.classes(lambda: patients.Attentive(lambda s, hidden: MASKS[how](s, ~hidden)), 7, 2)
        assert loss_of(treated) == pytest.approx(loss_of(well))
    assert loss_of(treated) != loss_of(ill)


def test_torchs_own_layers_see_what_padding_was():
    class Padded(patients.Transformer):
        def forward(self, x):
            hidden = patients.hidden_steps(x)
            return self.head(self.stack(self.first(x), src_key_padding_mask=hidden ^ self.turned).mean(1))

    losses = []
    for turned in (True, False):
        Padded.turned = turned
        each = apply(Remedy("UR309", {"p": 0.0}), patients.classes(Padded, 7, 2))
        losses.append([loss_of(each), loss_of(apply(Remedy("UR316"), each))])
    assert losses[0] == pytest.approx(losses[1][::-1])
    assert losses[0][0] != losses[0][1]


def test_a_mask_of_the_future_stays():
    def causal(scores, _hidden):
        return scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)

    training = patients.classes(lambda: patients.Attentive(causal), 7, 2)
    assert surveyed(patients.made(training), training).hidden == -1
    assert look(training, (Remedy("UR316"),)).error == "ValueError: the model hides nothing from attention"


@pytest.mark.parametrize("axis", [1, 2])
def test_a_softmax_goes_over_the_keys(axis):
    ill = patients.classes(lambda: patients.Attentive(axis=axis), 7, 2)
    well = patients.classes(patients.Attentive, 7, 2)
    assert "UR318" in codes(ill)
    assert surveyed(patients.made(well), well).across == 0
    assert loss_of(apply(Remedy("UR318"), ill)) == pytest.approx(loss_of(well))


def test_places_are_told_where_nothing_tells_them():
    training = patients.classes(patients.Attentive, 7, 2)
    assert "UR317" in codes(training)
    treated = apply(Remedy("UR317"), training)
    assert not surveyed(patients.made(treated), treated).placeless
    x = training.sample(1)[0][0]
    for each, same in ((training, True), (treated, False)):
        model = patients.made(each)
        assert torch.allclose(model(x), model(x.flip(1)), atol=1e-6) is same
    assert patients.made(treated)(torch.ones(2, 9, 2)).shape == (2, 3)  # longer than any that was seen

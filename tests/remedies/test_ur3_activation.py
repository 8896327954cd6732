"""Another activation between layers."""

import torch
from torch import nn

from remedies import patients
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply, prescribe
from undertow.remedies.facts import with_facts
from undertow.remedies.survey import surveyed


def test_activations_that_are_functions_are_replaced_and_the_outputs_own_stays():
    training = patients.classes(lambda: patients.Functional(squashed=True), 6)
    model = patients.made(apply(Remedy("UR301", {"to": "relu"}), training))
    x = training.sample(1)[0][0]
    hidden = torch.relu(model.second(torch.relu(model.first(x))))
    assert torch.allclose(model(x), torch.softmax(model.head(hidden), 1))


def test_a_softmax_between_layers_becomes_a_relu_and_that_of_an_attention_stays():
    plain = patients.classes(lambda: patients.mlp(lambda: nn.Softmax(1)), 6)
    assert Remedy("UR301", {"to": "relu"}) in prescribe(with_facts(look(plain).diagnosis, plain, 0.0))
    model = patients.made(apply(Remedy("UR301", {"to": "relu"}), plain))
    assert not any(isinstance(each, nn.Softmax) for each in model)

    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.mix, self.head = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            q = self.q(x)
            return self.head(torch.relu(self.mix((q @ q.transpose(1, 2)).softmax(-1) @ q)).mean(1))

    attentive = patients.classes(Attentive, 7, 2)
    assert surveyed(patients.made(attentive), attentive).hidden_softmax == 0

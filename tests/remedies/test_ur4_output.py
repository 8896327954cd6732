"""Outputs without the activation that the loss has already."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from remedies import patients
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply


@pytest.mark.parametrize("model", [lambda: patients.mlp(end=lambda: nn.Softmax(1)), patients.Functional])
def test_outputs_reach_the_loss_unsquashed_and_the_score_as_before(model):
    training = patients.classes(lambda: model() if model is not patients.Functional else model(True), 6)
    treated, net = apply(Remedy("UR401"), training), patients.made(training)
    x, y = training.sample(1)[0]
    logits = net(x).log()  # up to a constant, which a softmax doesn't see
    assert float(treated.loss(net, (x, y)).detach()) == pytest.approx(
        float(nn.functional.cross_entropy(logits, y).detach()), rel=1e-5
    )
    assert torch.allclose(net(x).sum(1), torch.ones(8))


def test_a_softmax_in_the_loss_itself_is_left_out():
    training = patients.classes(patients.mlp, 6)
    twice = type(training)(
        **{**vars(training), "loss": lambda m, b: nn.functional.cross_entropy(m(b[0]).softmax(1), b[1])}
    )
    net, batch = patients.made(training), training.sample(1)[0]
    assert float(apply(Remedy("UR401"), twice).loss(net, batch).detach()) == pytest.approx(
        float(training.loss(net, batch).detach())
    )


def test_a_softmax_over_one_output_becomes_a_sigmoid():
    training = patients.numbers(lambda: nn.Sequential(nn.Linear(6, 1), nn.Softmax(1)), 1)
    model = patients.made(apply(Remedy("UR410"), training))
    x = training.sample(1)[0][0]
    assert torch.allclose(model(x), torch.sigmoid(model[0](x)))
    many = look(patients.classes(lambda: patients.mlp(end=lambda: nn.Softmax(1)), 6), (Remedy("UR410"),))
    assert many.error == "ValueError: the last layer has more than one output"
    labels = [(x, (y[:, None] <= torch.arange(3)).float()) for x, y in patients.classes(patients.mlp, 6).batches]
    several = replace(
        patients.classes(lambda: nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), 6),
        batches=labels,
        loss=lambda net, batch: nn.functional.binary_cross_entropy(net(batch[0]), batch[1]),
    )
    model = patients.made(apply(Remedy("UR410"), several))
    assert torch.allclose(model(x), torch.sigmoid(model[0](x)))


class Bare(nn.Module):
    """Layers that are no modules, as Keras has them: an activation behind the last one, too."""

    def __init__(self, end, outputs=1):
        super().__init__()
        self.first, self.last = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(5, outputs))
        self.end = end

    def forward(self, x):
        return self.end(torch.sigmoid(x @ self.first) @ self.last)


def test_the_output_of_layers_that_are_no_modules_is_freed_and_its_activation_is_no_hidden_one():
    training = patients.numbers(lambda: Bare(torch.relu), 1)
    x = training.sample(1)[0][0]
    made = {code: patients.made(apply(Remedy(code), training)) for code in ("UR402", "UR410", "UR301")}
    net = patients.made(training)
    hidden = x @ net.first
    assert torch.allclose(made["UR402"](x), hidden.sigmoid() @ net.last)
    assert torch.allclose(made["UR410"](x), (hidden.sigmoid() @ net.last).sigmoid())
    assert torch.allclose(made["UR301"](x), (hidden.relu() @ net.last).relu())
    with pytest.raises(ValueError, match="more than one output"):
        apply(Remedy("UR410"), patients.numbers(lambda: Bare(torch.relu, 3), 3))

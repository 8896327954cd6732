import pytest
import torch
from torch import nn

import sample_models
from undertow import Training
from undertow.testing import assert_gradients_flow, assert_trains

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


def training(lr=0.1, score=None, loss=lambda out, y: (out - y).square().mean()):
    return Training(
        model=lambda: nn.Linear(4, 1),
        batches=[(X[:32], X[:32].sum(1, keepdim=True)), (X[32:], X[32:].sum(1, keepdim=True))],
        loss=lambda model, batch: loss(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=lr),
        score=score,
        steps=40,
    )


class Cut(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.cut = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.used(x) + self.cut(x).detach()


def test_a_gradient_that_flows_gives_the_report_and_leaves_no_trace():
    model, loss, *rest = sample_models.residual()
    state = torch.get_rng_state()
    report = assert_gradients_flow(model, loss, *rest)
    assert report.gains
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_one_that_fades_is_told_with_its_place_its_remedy_and_where_to_read_more():
    with pytest.raises(AssertionError) as failed:
        assert_gradients_flow(*sample_models.sigmoid())
    first, *_ = text = str(failed.value).splitlines()
    assert first.startswith("gradients don't flow through ")
    assert "as severe as warning or more" in first
    assert any("UT101 error" in line for line in text)
    assert any("nn.init." in line for line in text)
    assert any("more: undertow rule UT101" in line for line in text)


def test_parameters_that_no_gradient_reaches_fail_unless_they_are_ignored():
    model = Cut()

    def loss():
        return model(X).square().mean()

    with pytest.raises(AssertionError, match="UT501"):
        assert_gradients_flow(model, loss)
    assert_gradients_flow(model, loss, ignore=["UT501"])
    assert_gradients_flow(model, loss, select=["UT101"])


def test_words_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="'fatal' is not a valid Severity"):
        assert_gradients_flow(Cut(), lambda: None, fail_on="fatal")
    with pytest.raises(ValueError, match="no rule's code begins with UT9"):
        assert_gradients_flow(*sample_models.sigmoid(), select=["UT9"])
    with pytest.raises(TypeError, match=r"training is a Linear: give an undertow\.Training"):
        assert_trains(nn.Linear(2, 1))


def test_a_training_that_learns_gives_what_was_recorded_and_leaves_random_numbers_alone():
    state = torch.get_rng_state()
    explained = assert_trains(training())
    assert len(explained.run.scalars["loss"]) == 40
    assert len(explained.run) > 10
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: training(lr=1e-7), r"its loss on fixed batches went from \S+ to \S+ in 40 steps, and should fall"),
        (
            lambda: training(lr=1e-7, score=lambda m: -(m.bias.item() ** 2)),
            r"its score went from \S+ to \S+ in 40 steps",
        ),
        (lambda: training(lr=1e9), "its loss is not finite from step"),
    ],
)
def test_one_that_does_not_says_what_it_was_measured_by(made, said):
    with pytest.raises(AssertionError, match=f"this training doesn't train: {said}"):
        assert_trains(made())


def test_what_undertow_found_stands_under_it():
    with pytest.raises(AssertionError, match="UT401"):
        assert_trains(training(lr=1e9))


def test_one_batch_is_learned_by_heart():
    noise = training(loss=lambda out, y: (out - y.sign() * 3).square().mean())
    assert_trains(noise, gain=0.3, one_batch=True)
    with pytest.raises(AssertionError, match="should fall by 99 %"):
        assert_trains(noise, gain=0.99)

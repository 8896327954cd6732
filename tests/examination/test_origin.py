"""Passes that are not finite: they are examined all the same, and the operation to blame is named."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


def blamed(compute_loss, model):
    found = [f for f in examine(model, compute_loss).findings if f.code == "UT103"]
    assert len(found) == 1
    return found[0]


def test_a_softmax_by_hand_that_overflows():
    """All shares are nan: the way to the front must still be found."""
    model, x = net(), torch.randn(16, 8)

    def compute_loss():
        e = (1e4 * model(x)).exp()
        return functional.nll_loss(e / e.sum(1, keepdim=True), torch.zeros(16, dtype=torch.long))

    assert "exp" in blamed(compute_loss, model).message


def test_nan_that_a_mask_let_through_is_the_softmaxs():
    model, x = net(), torch.randn(16, 8)
    hidden = torch.ones(16, 4, dtype=torch.bool)

    def compute_loss():
        return model(x).masked_fill(hidden, float("-inf")).softmax(1).mean()

    assert "softmax" in blamed(compute_loss, model).message


def test_where_is_not_blamed_for_what_sqrt_brings():
    model, x = net(), torch.randn(16, 8)

    def compute_loss():
        z = torch.relu(model(x))
        return torch.where(z > 0, z.sqrt(), z).mean()

    assert blamed(compute_loss, model).where == "sqrt"


IN_PLACE = {
    "log": lambda z: z.log_(),
    "div": lambda z: z.div_(0),
    "sqrt": lambda z: z.sub_(100).sqrt_(),
    "exp": lambda z: z.mul_(1e4).exp_(),
    "pow": lambda z: z.abs_().add_(2).pow_(2000),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("op", IN_PLACE)
def test_in_place_operations_are_blamed_themselves(op, dtype):
    model, x = net().to(dtype), torch.randn(16, 8, dtype=dtype)
    found = blamed(lambda: IN_PLACE[op](model(x)).square().mean(), model)
    assert f"in {op}" in found.message
    assert found.source.startswith(__file__)


def test_what_is_only_written_over_is_not_read():
    """Memory that held nan before a copy is no input."""
    model, x = net(), torch.randn(16, 8)
    room = torch.full((16, 8), torch.nan)
    found = blamed(lambda: model(room.copy_(x)).sub(1e9).log().mean(), model)
    assert "log" in found.message


IMPORTS = {
    "an input": lambda _, x: x.index_fill_(0, torch.tensor([3]), torch.nan),
    "the parameter 2.weight": lambda model, _: model[2].weight.data[1].fill_(torch.nan),
    "the buffer scale": lambda model, _: model.scale.fill_(torch.inf),
}


@pytest.mark.parametrize(
    "loss",
    [
        lambda out: out.square().mean(),
        lambda out: functional.mse_loss(out, torch.ones_like(out)),
        lambda out: functional.binary_cross_entropy_with_logits(out, torch.ones_like(out)),
        lambda out: functional.cross_entropy(out, torch.zeros(len(out), dtype=torch.long)),
    ],
)
@pytest.mark.parametrize("what", IMPORTS)
def test_what_brings_nan_in_is_named_and_no_operation_blamed(what, loss):
    model, x = net(), torch.randn(16, 8)
    model.register_buffer("scale", torch.ones(8))
    IMPORTS[what](model, x)
    report = examine(model, lambda: loss(model(x * model.scale)))
    assert report.run.header["origin"] is None
    assert report.run.header["imported"]["what"] == what


def test_an_attention_mask_brings_nothing_in():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    mask, x = nn.Transformer.generate_square_subsequent_mask(5), torch.randn(4, 5, 8)
    header = examine(model, lambda: model(x, src_mask=mask).sub(100).log().mean()).run.header
    assert header["origin"]["op"] == "log"


class Branched(nn.Module):
    """A residual branch that ends in a normalisation of weight zero."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.LayerNorm(4))
        self.head = nn.Linear(4, 2)
        nn.init.zeros_(self.branch[3].weight)

    def forward(self, x):
        return self.head(x + self.branch(x))


@pytest.mark.parametrize(("scale", "passes", "blamed"), [(1.0, 1, 0), (1e30, 2, 1)])
def test_overflow_is_looked_for_where_zeros_come_from_no_zero_parameter(scale, passes, blamed):
    """What is divided by inf is zero, and so is what comes back; a branch that is switched off tells its own story."""
    torch.manual_seed(0)
    model, x, asked = Branched(), torch.randn(16, 4), []

    def compute_loss():
        asked.append(1)
        out = model(x)
        return (out * out / (1 + (out * scale).square())).mean()

    report = examine(model, compute_loss)
    assert len(report.run.header["zero gradients"]) >= 4
    assert len(asked) == passes
    assert ("overflow" in report.run.header) == blamed


def test_a_gradient_that_fades_away_is_no_reason_to_look_for_overflow():
    torch.manual_seed(0)
    model, x, asked = nn.Sequential(*(nn.Linear(4, 4) for _ in range(60))), torch.randn(16, 4), []
    with torch.no_grad():
        for layer in model:
            layer.weight *= 0.05

    def compute_loss():
        asked.append(1)
        return model(x).sum()

    report = examine(model, compute_loss)
    assert report.run.header["zero gradients"]
    assert len(asked) == 1

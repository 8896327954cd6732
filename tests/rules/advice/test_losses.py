"""Advice on losses: the line pasted gives them what they take."""

import pytest
import torch
from torch.nn import functional

from rules import (
    test_ut5_loss,
    test_ut5_terms,
)
from rules.advising import found_in, run, still
from rules.fitting import regressed

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")  # torch's own hint, at some losses

FIXED_IN_THE_LOSS = [
    test_ut5_loss.softmax_smoothed_cross_entropy,
    test_ut5_loss.sigmoid_cross_entropy,
    test_ut5_loss.sigmoid_bce_with_logits,
    test_ut5_loss.bare_output_nll,
]


@pytest.mark.parametrize("build", FIXED_IN_THE_LOSS, ids=lambda build: build.__name__)
def test_the_line_for_the_loss_takes_logits(build):
    model, compute_loss, optimizer = build()
    found = found_in("UT503", model, compute_loss, optimizer)
    x, y = torch.randn(12, 6), torch.randint(0, 4, (12,))
    targets = functional.one_hot(y, 4).float() if "binary" in found.snippet else y

    def mended():
        return run(found, output=model.net(x), logits=model.net(x), targets=targets)["loss"]

    assert not still("UT503", model, mended)


@pytest.mark.parametrize("shapes", [((12,), lambda z: z), ((12, 1), lambda z: z.squeeze(1))], ids=["row", "column"])
def test_the_line_for_the_target_gives_it_the_outputs_shape(shapes):
    shape, after = shapes
    found = found_in("UT504", *regressed(functional.mse_loss, shape=shape, after=after))

    def mended(output, target):
        return functional.mse_loss(output, run(found, output=output, targets=target)["targets"])

    assert not still("UT504", *regressed(mended, shape=shape, after=after))


def test_the_line_for_two_terms_balances_them():
    found = found_in("UT507", *test_ut5_terms.two(lambda s: s.c + 1e4 * s.m))
    mended = test_ut5_terms.two(lambda s: run(found, small=s.c, large=1e4 * s.m)["loss"])
    assert not still("UT507", *mended)

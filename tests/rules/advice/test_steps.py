"""Advice on the optimizer: it is made again as it is, and weights stay in float32."""

import torch

from rules import (
    test_ut4_membership,
)
from rules.advising import found_in, run, still
from rules.fitting import mlp
from rules.networks import in_half


def test_an_optimizer_of_the_users_own_is_made_again_as_it_is():
    class Own(torch.optim.SGD):
        pass

    model = mlp()
    optimizer = Own(mlp().parameters(), lr=0.1)
    x = torch.randn(12, 6)
    found = found_in("UT407", model, lambda: model(x).square().mean(), optimizer)
    left = run(found, model=model, optimizer=optimizer)["optimizer"]
    assert isinstance(left, Own)
    assert found_in("UT407", model, lambda: model(x).square().mean(), left) is None


def test_an_optimizer_that_holds_nothing_is_made_again_of_its_own_kind():
    found = found_in("UT407", *test_ut4_membership.case(test_ut4_membership.of_a_copy))
    assert "torch.optim.Adam(model.parameters(), lr=0.001)" in found.snippet


def test_the_line_for_half_precision_keeps_weights_in_float32():
    model, compute_loss, _ = in_half(1e-6)
    found = found_in("UT404", model, compute_loss, None)
    run(found, model=model)

    def mended():
        with torch.autocast("cpu", dtype=torch.float16):
            return compute_loss() * 2.0**16  # a GradScaler's at its start

    assert not still("UT404", model, mended)

"""Single precision in place of half."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.remedies import Remedy, apply


@pytest.mark.parametrize("inside", [True, False])
def test_half_precision_becomes_single(inside):
    def loss(model, batch):
        with torch.autocast("cpu", torch.float16, enabled=inside):
            made = model(batch[0])
        return functional.cross_entropy(made.float(), batch[1])

    plain = patients.classes(lambda: nn.Linear(6, 3), 6, scale=1e5)
    ill = replace(plain, loss=loss, autocast=None if inside else torch.float16)
    assert loss_of(apply(Remedy("UR115"), ill)) == pytest.approx(loss_of(plain), rel=1e-6)
    assert "UR115" in codes(ill)
    few = patients.classes(lambda: nn.Linear(6, 3), 6)
    halved = replace(few, model=lambda: nn.Linear(6, 3).half(), batches=[(x.half(), y) for x, y in few.batches])
    treated = apply(Remedy("UR115"), halved)
    assert patients.made(treated).weight.dtype is torch.float32
    assert treated.run(steps=3).diverged is None

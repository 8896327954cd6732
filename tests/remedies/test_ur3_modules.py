"""Less dropout."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from remedies.treating import codes
from undertow.remedies import Remedy, apply


class Dropping(nn.Module):
    """Drops by functions, as a keyword or in its place."""

    def __init__(self, drop):
        super().__init__()
        self.first, self.head, self.drop = nn.Linear(6, 400), nn.Linear(400, 3), drop

    def forward(self, x):
        return self.head(self.drop(torch.relu(self.first(x)), self.training))


@pytest.mark.parametrize(
    "drop",
    [
        lambda x, on: functional.dropout(x, 0.98, on), lambda x, on: functional.dropout(x, p=0.98, training=on),
        lambda x, on: functional.alpha_dropout(x, 0.98, on), lambda x, _: nn.Dropout(0.98)(x),
    ],
)  # fmt: skip
def test_dropout_of_functions_is_lowered(drop):
    training = patients.classes(lambda: Dropping(drop), 6)
    assert "UR309" in codes(training)
    kept = []
    for each in (training, apply(Remedy("UR309", {"p": 0.1}), training)):
        model = patients.made(each)
        model.head.register_forward_pre_hook(lambda _, given: kept.append(len(given[0].unique())))
        model(torch.ones(8, 6))
        model.eval()(torch.ones(8, 6))
    assert kept[2] > 2 * kept[0]  # what is dropped is all of one value

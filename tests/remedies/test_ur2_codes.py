"""Codes that begin where they are needed."""

from torch import nn

from remedies import patients
from remedies.treating import codes
from undertow.remedies import Remedy, apply
from undertow.remedies.survey import surveyed


class Book(nn.Module):
    """The nearest of some codes, all of them far away."""

    def __init__(self):
        super().__init__()
        self.encoder, self.book, self.head = nn.Linear(6, 3), nn.Embedding(8, 3), nn.Linear(3, 3)
        self.book.weight.data += 50

    def forward(self, x):
        z = self.encoder(x)
        chosen = self.book((z[:, None] - self.book.weight[None]).square().sum(-1).argmin(1))
        return self.head(z + (chosen - z).detach())


def test_codes_begin_where_they_are_needed():
    training = patients.classes(Book, 6)
    assert surveyed(patients.made(training), training).codes == ["book.weight"]
    assert "UR208" in codes(training)
    x = training.sample(1)[0][0]
    models = [patients.made(each) for each in (training, apply(Remedy("UR208"), training))]
    used = [
        len((model.encoder(x)[:, None] - model.book.weight[None]).square().sum(-1).argmin(1).unique())
        for model in models
    ]
    assert used[0] == 1
    assert used[1] > 3

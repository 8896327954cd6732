import sys

import torch

from undertow.demonstration.digits import digits, drawn


def test_drawn_digits_can_be_told_apart_and_are_the_same_each_time():
    data, again = drawn(), drawn()
    assert torch.equal(data.x, again.x)
    assert torch.equal(data.test_y, again.test_y)
    means = torch.stack([data.x[data.y == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(data.test_x.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == data.test_y).float().mean() > 0.4  # a tenth by chance; moving the glyphs blurs the means


def test_without_scikit_learn_digits_are_drawn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert digits().origin == "digits drawn by undertow"


def test_no_picture_is_in_both_parts():
    data = digits()
    assert not set(map(str, data.x[:200].flatten(1).tolist())) & set(map(str, data.test_x.flatten(1).tolist()))

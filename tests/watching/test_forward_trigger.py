"""Calls of a model that is trained are heard, and nobody is kept alive by it."""

import copy
import gc
import pickle
import weakref

import torch
from torch import nn

from undertow.watching.forward_trigger import CallListener


class Hears:
    def __init__(self, model: nn.Module, wrong: bool = False) -> None:
        self.calls: list[int] = []
        self.errors: list[Exception] = []
        self.wrong = wrong
        self.listener = CallListener(model, self.heard, self.errors.append)

    def heard(self, calls: int) -> None:
        self.calls.append(calls)
        if self.wrong:
            raise ZeroDivisionError("ours")


def test_calls_to_train_are_heard_until_it_is_closed() -> None:
    model = nn.Linear(2, 1)
    hears = Hears(model)
    hears.listener.open()
    model(torch.ones(2))
    with torch.no_grad():
        model(torch.ones(2))
    model(torch.ones(2))
    assert hears.listener.waits
    hears.listener.close()
    model(torch.ones(2))
    assert hears.calls == [1, 2]
    assert not model._forward_pre_hooks


def test_an_error_of_ours_is_told_and_not_raised() -> None:
    model = nn.Linear(2, 1)
    hears = Hears(model, wrong=True)
    hears.listener.open()
    model(torch.ones(2))
    assert [type(error) for error in hears.errors] == [ZeroDivisionError]


def test_a_copy_of_the_model_is_not_listened_to() -> None:
    model = nn.Linear(2, 1)
    hears = Hears(model)
    hears.listener.open()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301  # our own
        other(torch.ones(2))
    assert hears.calls == []


def test_who_listens_is_not_held_alive_by_the_model() -> None:
    model = nn.Linear(2, 1)
    hears = Hears(model)
    hears.listener.open()
    alive = weakref.ref(hears)
    del hears
    gc.collect()
    assert alive() is None
    model(torch.ones(2))

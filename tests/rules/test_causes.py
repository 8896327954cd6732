"""Causes before consequences: a learning rate that is too large explains what it did, and nothing else."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from rules.trainings import adam, chain, classified, sgd, train
from undertow.record import Finding, Severity, folded
from undertow.rules import over_time
from undertow.rules.judging import in_order

LARGE = {
    "Adam, units die": (nn.ReLU, lambda net: adam(net, 0.3), "UT202"),
    "SGD, units die": (nn.ReLU, lambda net: sgd(net, 3.0), "UT202"),
    "SGD, nan": (nn.ReLU, lambda net: sgd(net, 10.0), "UT103"),
    "Adam, tanh saturates": (nn.Tanh, lambda net: adam(net, 0.3), "UT201"),
}


@pytest.mark.parametrize("how", LARGE)
def test_a_learning_rate_that_is_too_large_is_told_first(tmp_path, how):
    activation, make, effect = LARGE[how]
    torch.manual_seed(0)
    net = chain(activation, 4, gain=2.0)
    found = over_time(train(tmp_path, net, make(net), classified(), 80))
    (cause, rest), *_ = folded(found)
    assert cause.code == "UT401"
    assert effect in {each.code for each in rest}
    assert 'group["lr"] *= 0.0' in cause.snippet
    assert cause.severity.rank >= max(each.severity.rank for each in rest)


def made(code, severity=Severity.WARNING, **when):
    return Finding(code, "", severity, (), "", "", **when)


def test_units_that_are_dead_from_the_start_are_not_the_learning_rates():
    cause = made("UT401", began=0, from_start=True)
    born, died = (made("UT202", Severity.ERROR, began=n, from_start=n == 0) for n in (0, 5))
    assert {each.code: each.follows_from for each in in_order([cause, born])}["UT202"] == ""
    assert {each.code: each.follows_from for each in in_order([cause, died])}["UT202"] == "UT401"


def test_what_began_before_its_cause_does_not_follow_from_it():
    late = made("UT108", Severity.ERROR, began=50)
    assert in_order([late, made("UT101", began=60)])[1].follows_from == "UT108"
    assert in_order([late, made("UT101", began=40)])[1].follows_from == ""


def test_notes_explain_nothing():
    note = replace(made("UT101"), severity=Severity.NOTE)
    assert [each.follows_from for each in in_order([note, made("UT104")])] == ["", ""]

"""Saved tensors that hooks packed are known, also where torch doesn't tell it."""

from types import SimpleNamespace

import pytest
import torch
from torch._C import _autograd

from undertow.tape import packed


@pytest.fixture
def _older(monkeypatch):
    """Let nobody ask a saved tensor, as in older releases of torch."""
    for name in ("_push_saved_tensors_default_hooks", "_pop_saved_tensors_default_hooks"):
        monkeypatch.setattr(_autograd, name, getattr(_autograd, name))  # put back afterwards
    monkeypatch.setattr(packed, "_SPANS", packed._noted(_autograd))


def made():
    return torch.ones(2, requires_grad=True).exp().grad_fn


def hooks():
    return torch.autograd.graph.saved_tensors_hooks(lambda x: x.numpy(), torch.from_numpy)


@pytest.mark.usefixtures("_older")
def test_what_is_saved_under_hooks_is_known_and_nothing_else():
    before = made()
    with hooks():
        within = made()
        with hooks():
            deeper = made()
        still = made()
    after = made()
    told = [packed.may_be_packed(node, "result") for node in (before, within, deeper, still, after)]
    assert told == [False, True, True, True, False]
    with torch.autograd.graph.save_on_cpu():
        assert packed.may_be_packed(made(), "result")


@pytest.mark.usefixtures("_older")
def test_both_ways_agree():
    nodes = [made()]
    with hooks():
        nodes.append(made())
    nodes.append(made())
    if packed.TELLS:
        assert [bool(node._raw_saved_result.unpack_hook) for node in nodes] == [
            packed.may_be_packed(node, "result") for node in nodes
        ]


def test_what_is_forgotten_may_have_been_any_time():
    spans = packed.Spans()
    for number in range(0, 4 * packed.MOST_SPANS, 4):
        spans.begin(number + 1)
        spans.end(number + 2)
    assert [spans.hold(number) for number in range(3)] == [False, True, False]
    spans.begin(4 * packed.MOST_SPANS)  # the first is forgotten
    assert [spans.hold(number) for number in range(3)] == [True, True, False]


def test_hooks_of_another_thread_end_with_their_own():
    spans = packed.Spans()
    spans.end(3)  # set before anybody noted it
    assert not spans.hold(2)


def test_what_is_no_saved_tensor_is_left_alone():
    assert packed.may_be_packed(SimpleNamespace(), "result")

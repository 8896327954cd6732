"""A graph that is followed is the one that would have been discovered, and no other one is taken for it."""

import numpy as np
import torch
from torch import nn

from undertow.measure import Meter
from undertow.tape import Tape
from undertow.tape.graph import discover
from undertow.tape.plans import Plans
from undertow.tape.routes import Route


def names_of(model):
    return {id(p): name for name, p in model.named_parameters()}


def test_the_nodes_are_those_that_discovery_finds(net):
    model, compute_loss = net
    route = Route(discover(compute_loss().grad_fn), names_of(model))
    root = compute_loss().grad_fn
    nodes, vertices = route.follow(root), discover(root)
    assert len(nodes) == len(vertices)
    assert all(nodes[place] is vertex.node for place, vertex in zip(route.places, vertices, strict=True))
    foreign = [v.leaf for v in vertices if v.leaf is not None and id(v.leaf) not in names_of(model)]
    assert {id(leaf) for leaf in route.foreign(nodes)} == {id(leaf) for leaf in foreign}


W, V = torch.randn(3, 3, requires_grad=True), torch.randn(3, 3, requires_grad=True)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return 2 * x

    @staticmethod
    def backward(_, g):
        return 2 * g


class Halved(Doubled):
    @staticmethod
    def forward(_, x):
        return x / 2


def twice(f):
    return f() * f()


def reused(f):
    y = f()
    return y * y


GRAPHS = {
    "W": lambda: W.sin().sum(),
    "V": lambda: V.sin().sum(),
    "another operation": lambda: W.cos().sum(),
    "one more": lambda: W.sin().sin().sum(),
    "computed twice": lambda: twice(W.sin).sum(),
    "used twice": lambda: reused(W.sin).sum(),
    "W times V": lambda: (W * V).sum(),
    "V times W": lambda: (V * W).sum(),
    "W times W": lambda: (W * W).sum(),
    "W times a constant": lambda: (W * torch.ones(3, 3)).sum(),
    "first part": lambda: W.chunk(2)[0].sum(),
    "second part": lambda: W.chunk(2)[1].sum(),
    "doubled": lambda: Doubled.apply(W).sum(),
    "halved": lambda: Halved.apply(W).sum(),
    "a tensor of one's own": lambda: torch.ones(3, 3, requires_grad=True).sin().sum(),
}


def test_no_graph_is_taken_for_another():
    names = {id(W): "W", id(V): "V"}
    for name, compute in GRAPHS.items():
        route = Route(discover(compute().grad_fn), names)
        followed = {other: route.follow(make().grad_fn) for other, make in GRAPHS.items()}
        taken = [
            other
            for other, nodes in followed.items()
            if nodes is not None and not any(id(leaf) in names for leaf in route.foreign(nodes))
        ]
        assert taken == [name]


def test_a_parameter_of_one_s_own_that_the_model_gets_later_is_no_foreign_leaf_any_more():
    model = nn.Linear(3, 3)
    own = nn.Parameter(torch.ones(3))
    plans = Plans(model)

    def a_pass():
        with Tape(plans) as tape:
            loss = (model(torch.ones(2, 3)) * own).sum()
            assert tape.attach(loss)
            loss.backward()
        return tape

    for _ in range(3):
        tape = a_pass()
    assert not any("own" in site.parameters for site in tape.sites)
    model.register_parameter("own", own)
    plans.also({})
    plans = Plans(model)
    assert any("own" in site.parameters for site in a_pass().sites)


def test_what_is_not_verified_has_the_same_numbers(net):
    model, compute_loss = net
    columns = []
    for meter in (Meter(verify=True), Meter(verify=False, lasting=True)):
        torch.manual_seed(3)
        with Tape(model, meter) as tape:
            loss = compute_loss()
            tape.attach(loss)
            loss.backward()
            columns.append(tape.columns())
        model.zero_grad()
    for verified, taken in zip(columns[0].by_site.items(), columns[1].by_site.items(), strict=True):
        np.testing.assert_allclose(taken[1], verified[1], rtol=1e-9, atol=1e-15, err_msg=verified[0])

"""What must hold at every Node of any graph (DESIGN's laws 3 and 4)."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from undertow.measure import Meter, measure
from undertow.record import Role
from undertow.tape import Tape


def taped(model, compute_loss, listener=measure, **options):
    with Tape(model, listener=listener, **options) as tape:
        loss = compute_loss()
        tape.attach(loss)
        loss.backward()
    return tape, tape.columns()


def whole(signal, contribution, total):
    """Return the gradient received, and a contribution to it: where it is one to a part, with zeros around it."""
    if any(total is each for each in signal.received):
        return total, contribution
    received = next(
        each for each in signal.received if each.untyped_storage().data_ptr() == total.untyped_storage().data_ptr()
    )
    around = torch.zeros_like(received)
    around.as_strided(total.shape, total.stride(), total.storage_offset() - received.storage_offset()).copy_(
        contribution
    )
    return received, around


def test_contributions_sum_elementwise_to_the_received_gradient(net):
    joins = []

    def listener(signal, _):
        by_output = {}
        for _, contribution, total in signal.arrivals:
            received, contribution = whole(signal, contribution, total)
            by_output.setdefault(id(received), [received, []])[1].append(contribution)
        for total, contributions in by_output.values():
            torch.testing.assert_close(torch.stack(contributions).sum(0), total, rtol=1e-12, atol=1e-15)
            joins.append(signal.site)

    taped(*net, listener=listener)


def test_a_contribution_to_a_part_is_read_without_the_zeros_around_it():
    x = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0))
    net = torch.nn.Linear(5, 6)
    sizes = []

    def listener(signal, meter):
        sizes.extend(contribution.numel() for _, contribution, _ in signal.arrivals)
        measure(signal, meter)

    def compute_loss():
        y = net(x).sin()
        return (y[-1] ** 2).sum() + (y.select(-1, 2) ** 3).sum() + (y[:, 2:-2:3] ** 4).sum() + (y[..., -4:] ** 5).sum()

    tape, columns = taped(net, compute_loss, listener)
    assert sorted(sizes) == [24, 36, 48, 96]
    joins = np.array([sum(each.target == edge.target for each in tape.edges) > 1 for edge in tape.edges])
    assert columns.by_edge["share"][joins].sum() == pytest.approx(1)
    y = net(x).sin().detach().requires_grad_()
    alone = [
        torch.autograd.grad(loss, y)[0].norm().item()
        for loss in (
            (y[-1] ** 2).sum(),
            (y.select(-1, 2) ** 3).sum(),
            (y[:, 2:-2:3] ** 4).sum(),
            (y[..., -4:] ** 5).sum(),
        )
    ]
    assert sorted(columns.by_edge["contribution"][joins]) == pytest.approx(sorted(alone), rel=1e-5)


def test_shares_sum_to_one(net):
    tape, columns = taped(*net)
    total = np.zeros(len(tape.sites))
    np.add.at(total, [edge.target for edge in tape.edges], columns.by_edge["share"])
    receives = columns.by_site["grad_output"] > 0
    receives[0] = False  # the loss
    np.testing.assert_allclose(total[receives], 1, atol=1e-9)


def test_a_sole_contribution_is_the_whole_gradient(net):
    tape, columns = taped(*net)
    for number, edge in enumerate(tape.edges):
        if sum(each.target == edge.target for each in tape.edges) == 1:
            assert columns.by_edge["contribution"][number] == columns.by_site["grad_output"][edge.target]


def test_received_gradients_are_those_of_hooked_tensors(nets):
    model, compute_loss = nets("pre-norm")
    seen = {}

    def keep(name):
        def hook(_module, _inputs, output):
            output.register_hook(lambda g: seen.__setitem__(name, g.norm().item()))

        return hook

    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.GELU, nn.LayerNorm)):
            module.register_forward_hook(keep(name))
    tape, columns = taped(model, compute_loss)
    found = {s.module: columns.by_site["grad_output"][s.index] for s in tape.sites if s.module in seen}
    assert len(seen) == 17
    assert found == pytest.approx(seen, rel=1e-12)


def test_training_is_bit_identical(net):
    model, compute_loss = net
    state = {name: value.clone() for name, value in model.state_dict().items()}
    compute_loss().backward()
    plain = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    plain_buffers = [buffer.clone() for buffer in model.buffers()]
    model.load_state_dict(state)
    model.zero_grad()
    taped(model, compute_loss)
    for before, p in zip(plain, model.parameters(), strict=True):
        assert (before is None) == (p.grad is None)
        assert before is None or torch.equal(before, p.grad)
    assert all(torch.equal(a, b) for a, b in zip(plain_buffers, model.buffers(), strict=True))


def test_nothing_is_left_hooked(net):
    model, compute_loss = net
    taped(model, compute_loss)
    hooks = [hook for m in model.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    assert hooks == []
    assert torch._C._get_mkldnn_enabled()


@pytest.mark.parametrize("closed", [True, False])
def test_a_graph_that_is_not_backpropagated_is_freed(closed):
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))

    def leave_one():
        tape = Tape(model)
        tape.__enter__()
        hidden = model[:2](torch.ones(3, 4))
        tape.attach(model[2](hidden).sum())
        if closed:
            tape.close()
        return weakref.ref(hidden)

    left = leave_one()
    if not closed:
        gc.collect()  # a tape that was only dropped is a ring of vertices
    assert left() is None


def test_every_parameter_that_learns_is_named_at_some_site(net):
    model, compute_loss = net
    tape, _ = taped(model, compute_loss)
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    named = {name for site in tape.sites for name in site.parameters}
    opaque = {n for n in reached if n.startswith("body")} if hasattr(model, "reentrant") and model.reentrant else set()
    assert named == reached - opaque


@pytest.mark.parametrize("name", ["sigmoid chain", "tanh chain", "conv", "u-net", "positions", "pre-norm", "shared"])
def test_factors_of_activations_and_weights_give_the_gain(nets, name):
    tape, columns = taped(*nets(name))
    c = columns.by_site
    for site in tape.sites:
        gain = c["grad_input"][site.index] / c["grad_output"][site.index]
        if site.role is Role.ACTIVATION:
            product = c["derivative_rms"][site.index] * c["alignment_phi"][site.index]
        elif site.role is Role.WEIGHT and not np.isnan(gain):
            product = c["weight_norm"][site.index] / np.sqrt(site.n_out) * c["alignment_w"][site.index]
        else:
            continue
        assert product == pytest.approx(gain, rel=1e-9), site


def test_a_wrong_gradient_shows_in_the_alignment(nets):
    """The weight factor is not a remainder: a backward pass that does not multiply by W^T is noticed."""
    model, compute_loss = nets("tanh chain")

    def tamper(signal, meter):
        if signal.passed is not None:
            signal.passed = signal.passed.roll(1, dims=1)
        measure(signal, meter)

    honest = taped(model, compute_loss)[1].by_site["alignment_w"]
    fooled = taped(model, compute_loss, listener=tamper)[1].by_site["alignment_w"]
    some = ~np.isnan(honest)
    assert some.sum() == 2
    assert (np.abs(fooled[some] / honest[some] - 1) > 0.1).all()


def test_inf_and_nan_are_counted():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight[0, 0] = torch.inf
    tape, columns = taped(model, lambda: model(torch.ones(5, 3)).sum(), meter=Meter(count_nonfinite=True))
    counts = {s.module: columns.by_site["nonfinite"][s.index] for s in tape.sites if s.module}
    assert counts == {"1": 0, "0": 5}

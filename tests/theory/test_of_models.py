"""Eq. 124 of the lab's networks, of a tape and of any model: what carries the gradient, and how the gradient lies."""

import numpy as np
import pytest
import torch
from torch import nn

from undertow.examination.operators import between
from undertow.lab import Ensemble
from undertow.measure import Meter
from undertow.record import Role
from undertow.tape import Tape
from undertow.theory import product, singular
from undertow.theory.propagation import Layer, propagate


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu"])
def test_the_lab_s_own_backpropagation_is_the_product(activation):
    nets = Ensemble([7, 9, 8, 6, 4], members=3, seed=1, dtype=torch.float64, activation=activation, cost="quadratic")
    rng = np.random.default_rng(0)
    x, y = rng.random((5, 7)), rng.integers(0, 4, 5)
    passes = list(nets.backpropagate(*nets.examples(torch.from_numpy(x), torch.from_numpy(y))))
    for member in range(3):
        weights = [layer.w[member].numpy() for layer in nets.layers]
        z = [at.z[member].numpy() for at in passes]
        # the last layer's delta is taken over, as its activation is the cost's affair
        last = passes[-1].delta[member].numpy()
        kinds = [*[activation] * 3, "linear"]
        for found, at in zip(product.deltas(weights, z, last, kinds), passes, strict=True):
            np.testing.assert_allclose(found, at.delta[member].numpy(), rtol=1e-12, atol=1e-15)


def test_a_tape_s_factors_multiply_to_what_autograd_passes_on():
    torch.manual_seed(0)
    net = nn.Sequential(*[m for _ in range(4) for m in (nn.Linear(8, 8), nn.Tanh())], nn.Linear(8, 3)).double()
    x, factors, received = torch.randn(1, 8, dtype=torch.float64), [], {}

    def keep(signal, _meter):
        site = tape.sites[signal.site]
        received[signal.site] = signal.received[0].numpy().ravel().copy()
        if site.role is Role.ACTIVATION:
            factors.insert(0, signal.derivative.numpy().ravel().copy())
        elif site.role is Role.WEIGHT and signal.passed is not None:
            factors.insert(0, signal.weight.numpy().T.copy())

    with Tape(net, Meter(), keep) as tape:
        loss = net(x).square().sum()
        tape.attach(loss)
        loss.backward()
    layers = [site.index for site in tape.sites if site.role is Role.WEIGHT]
    carried = product.product_svd(factors)
    found = carried.left @ (10.0**carried.log10 * (carried.right.T @ received[layers[0]]))
    np.testing.assert_allclose(found, received[layers[-1]], rtol=1e-10, atol=1e-16)
    lies = product.alignment(carried, received[layers[0]])
    gain = np.linalg.norm(received[layers[-1]]) / np.linalg.norm(received[layers[0]])
    assert lies.gain == pytest.approx(gain, rel=1e-10)


class Attending(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.stem, self.norm = nn.Linear(5, width), nn.LayerNorm(width)
        self.mixed = nn.MultiheadAttention(width, 2, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(x)
        return self.head(x + self.mixed(y, y, y, need_weights=False)[0])


def attending():
    torch.manual_seed(0)
    net, x = Attending().double(), torch.randn(3, 4, 5, dtype=torch.float64)
    return net, lambda: net(x).square().mean(), net, x, "stem", "head"


def convolutional():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.SiLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 3)).double()
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    return net, lambda: net(x).square().mean(), net, x, "0", "3"


@pytest.mark.parametrize("make", [attending, convolutional])
def test_a_model_s_way_back_without_writing_it_out(make):
    net, compute_loss, model, x, front, back = make()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = between(net, compute_loss, front, back)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    outputs = {}
    for path in (front, back):
        net.get_submodule(path).register_forward_hook(lambda _m, _i, out, path=path: outputs.update({path: out}))
    model(x)
    start, end = outputs[front], outputs[back]
    rows = [torch.autograd.grad(end.flatten()[i], start, retain_graph=True)[0].flatten() for i in range(end.numel())]
    dense = torch.stack(rows).numpy().T
    np.testing.assert_allclose(found.operator @ np.eye(end.numel()), dense, atol=1e-12)
    np.testing.assert_allclose(found.operator.T @ np.eye(start.numel()), dense.T, atol=1e-12)
    np.testing.assert_allclose(found.operator @ found.received, found.passed_on, atol=1e-14)
    exact, top = np.linalg.svd(dense, compute_uv=False), product.largest(found.operator, k=4)
    assert (np.abs(top.values - exact[:4]) <= top.error + 1e-12).all()
    lies = product.operator_alignment(found.operator, found.received, k=4, samples=400)
    whole = product.alignment(singular.product_svd([dense]), found.received)
    np.testing.assert_allclose(lies.shares, whole.shares[:4], atol=1e-8)
    assert (lies.gain, lies.worst) == (pytest.approx(whole.gain, rel=1e-9), pytest.approx(whole.worst, rel=1e-9))
    assert lies.typical == pytest.approx(whole.typical, rel=0.05)
    assert all(torch.equal(before[name], tensor) for name, tensor in state.items())
    assert all(p.grad is None for p in net.parameters())


def test_of_a_large_model_lanczos_keeps_to_its_bound():
    torch.manual_seed(0)
    net = nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(150, 150), nn.Tanh())]).double()
    x = torch.randn(2, 150, dtype=torch.float64)
    found = between(net, lambda: net(x).square().mean(), "0", "11")
    top = product.largest(found.operator, k=3)
    exact = np.linalg.svd(found.operator @ np.eye(300), compute_uv=False)
    assert top.error.max() < 1e-8 * exact[0]
    assert (np.abs(top.values - exact[:3]) <= top.error + 1e-14).all()


@pytest.mark.parametrize(
    ("front", "back", "why"),
    [("stem", "nothing", "no module 'nothing'; there are: stem"), ("head", "stem", "no gradient gets from"),
     ("stem", "mixed", "single tensor"), ("stem", "mixed.out_proj", "was not run")],
)  # fmt: skip
def test_modules_without_a_way_between_them_are_refused(front, back, why):
    net, compute_loss, *_ = attending()
    with pytest.raises(ValueError, match=why):
        between(net, compute_loss, front, back)
    assert not any(module._forward_hooks for module in net.modules())


def test_a_gradient_of_another_length_is_refused():
    net, compute_loss, *_ = attending()
    found = between(net, compute_loss, "stem", "head")
    with pytest.raises(ValueError, match="non-zero vector of 24 numbers"):
        product.operator_alignment(found.operator, np.ones(3))


def test_the_spread_over_networks_is_that_of_the_lab_s_ensembles():
    """Sum of 1/width, on networks that this theory had no part in drawing."""
    widths, members = [100, 60, 120, 80], 300
    sizes = [100, *widths, 10]
    nets = Ensemble(sizes, members, seed=3, dtype=torch.float64, activation="relu", initializer="he", cost="quadratic")
    x = np.random.default_rng(0).standard_normal((1, 100))
    x *= 10 / np.linalg.norm(x)
    passes = list(nets.backpropagate(*nets.examples(torch.from_numpy(x), torch.tensor([3]))))
    norms = np.array([at.delta.norm(dim=(1, 2)).numpy() for at in passes])
    logs = np.log10(norms[0] / norms[3])
    found = propagate([Layer("relu", 2.0, width=n) for n in widths])
    assert (2 * np.log(10) * found.spread[0]) ** 2 == pytest.approx(5 * (1 / 100 + 1 / 60 + 1 / 120), rel=1e-9)
    assert logs.std(ddof=1) == pytest.approx(found.spread[0], rel=0.17)  # 300 networks measure it to 4 %
    assert logs.mean() == pytest.approx(found.typical[0], abs=4 * found.spread[0] / np.sqrt(members))

"""Eq. 124 of any model: the Jacobian between two modules, known only by what it does."""

import numpy as np
import pytest
import torch
from torch import nn

from undertow.examination.operators import between
from undertow.theory import product, singular


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

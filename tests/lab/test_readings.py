"""Readings mean what they are said to mean: each factor against autograd, and on networks where it is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from undertow.activations import ACTIVATIONS
from undertow.lab import Ensemble, Initializer
from undertow.lab.costs import OutputCost
from undertow.lab.kernels import Kernel
from undertow.lab.readings import SpeedFactors, per_example_speed, share_of_progress, speed, split

torch.set_num_threads(1)  # such small products only wait for a second thread

M, SIZES = 9, [3, 6, 5, 4, 2]
HIDDEN = range(len(SIZES) - 2)
random = torch.Generator().manual_seed(2)
X, Y = torch.randn(M, SIZES[0], generator=random, dtype=torch.float64), torch.randint(2, (M,), generator=random)

SMOOTH = sorted(name for name, phi in ACTIVATIONS.items() if not phi.kinks)
ensembles = st.builds(
    lambda **options: Ensemble(SIZES, 2, dtype=torch.float64, **options),
    seed=st.integers(0, 2**32),
    activation=st.lists(st.sampled_from(SMOOTH), min_size=3, max_size=3),
    cost=st.sampled_from(["cross-entropy", "quadratic", "log-likelihood"]),
    initializer=st.sampled_from(["default", "large", "he", "orthogonal"]),
)


def kept(net: nn.Module, x: Tensor, y: Tensor) -> tuple[dict[nn.Module, Tensor], dict[nn.Module, Tensor]]:
    """What every layer and activation of a member put out, and the gradient of each example's cost there."""
    outputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs[module] = output
        output.retain_grad()

    hooks = [module.register_forward_hook(keep) for module in (*net.layers, *net.activations)]
    (net.loss(x, y) * len(x)).backward()
    for hook in hooks:
        hook.remove()
    return outputs, {module: output.grad for module, output in outputs.items()}


def factors_by_autograd(net: nn.Module, l: int) -> dict[str, Tensor]:
    """The definitions of the design, for the l-th hidden layer of one member."""
    outputs, gradients = kept(net, X, Y)
    delta, above, g = gradients[net.layers[l]], gradients[net.layers[l + 1]], gradients[net.activations[l]]
    w, z = net.layers[l + 1].weight.detach(), outputs[net.layers[l]].detach().requires_grad_()
    [derivative] = torch.autograd.grad(net.activations[l](z).sum(), z)
    rms_derivative = derivative.square().mean().sqrt()
    return {
        "speed": delta.mean(0).norm(),
        "per_example": delta.square().sum(1).mean().sqrt(),
        "coherence": delta.mean(0).norm() / delta.square().sum(1).mean().sqrt(),
        "weights": w.norm() / len(w) ** 0.5,
        "alignment_w": len(w) ** 0.5 * (above @ w).norm() / (w.norm() * above.norm()),
        "activation": rms_derivative,
        "alignment_phi": (derivative * g).norm() / (rms_derivative * g.norm()),
        "received": above.square().sum(1).mean().sqrt(),
    }


@settings(deadline=None, max_examples=40)
@given(nets=ensembles)
def test_every_factor_is_what_autograd_makes_of_its_definition(nets: Ensemble) -> None:
    ours = split(nets, X, Y)
    for i in range(nets.members):
        for l in HIDDEN:
            for name, expected in factors_by_autograd(nets.member(i), l).items():
                assert getattr(ours, name)[i, l] == pytest.approx(expected.item(), rel=1e-9), name


@settings(deadline=None)
@given(nets=ensembles)
def test_the_factors_multiply_to_the_measured_speed(nets: Ensemble) -> None:
    s = split(nets, X, Y)
    gain = s.weights * s.alignment_w * s.activation * s.alignment_phi
    np.testing.assert_allclose(gain, s.gain, rtol=1e-12)
    np.testing.assert_allclose(s.received * gain * s.coherence, nets.learning_speed(X, Y)[:, :-1], rtol=1e-12)
    np.testing.assert_allclose(s.received[:, :-1], s.per_example[:, 1:], rtol=1e-12)  # passed on, received
    assert (s.coherence <= 1 + 1e-12).all()


def test_down_the_layers_the_gains_telescope() -> None:
    s = split(Ensemble(SIZES, 4, dtype=torch.float64), X, Y)
    np.testing.assert_allclose(s.gain.prod(1) * s.received[:, -1], s.per_example[:, 0], rtol=1e-12)


def orthogonal_and_linear(sizes: list[int], scale: float) -> SpeedFactors:
    recipe = Initializer("orthogonal", scale=scale)
    nets = Ensemble(sizes, 2, activation="linear", initializer=recipe, cost="quadratic", dtype=torch.float64)
    return split(nets, X, Y)


def test_orthogonal_weights_align_with_everything() -> None:
    """||w^T δ|| = scale ||δ|| for any δ: the alignment is 1, the factor is the scale, and φ' = 1 does nothing."""
    s = orthogonal_and_linear([3, 4, 4, 2], scale=1.7)
    np.testing.assert_allclose(s.weights[:, 0], 1.7, rtol=1e-12)
    for factor in (s.alignment_w, s.activation, s.alignment_phi):
        np.testing.assert_allclose(factor, 1.0, rtol=1e-12)


@pytest.mark.parametrize("outputs", [1, 2])
def test_weights_that_are_all_equal_sum_the_gradient(outputs: int) -> None:
    """w = c 1 1^T: ||w^T δ|| = c sqrt(n_in) |sum δ|, an alignment of |sum δ| / ||δ||; up to sqrt(n_out), down to 0."""
    recipe = Initializer("constant", scale=0.3)
    nets = Ensemble([3, 4, outputs], initializer=recipe, dtype=torch.float64)
    one = torch.ones(1, outputs, dtype=torch.float64)
    s = split(nets, X[:1], one)  # both outputs are wrong by as much
    assert s.weights.item() == pytest.approx(0.3 * 4**0.5)
    assert s.alignment_w.item() == pytest.approx(outputs**0.5)
    if outputs == 2:
        a = nets.member(0)(X[:1]).detach()
        opposite = split(nets, X[:1], a + torch.tensor([[0.2, -0.2]]))
        assert opposite.alignment_w.item() == pytest.approx(0.0, abs=1e-12)


def test_coherence_of_equal_and_of_opposite_examples() -> None:
    nets = Ensemble([3, 4, 1], members=3, dtype=torch.float64)
    x = X[:1].expand(4, 3)
    a = nets.feedforward(nets.inputs(x[:1]))[-1].a[0, 0].item()
    same = split(nets, x, torch.full((4, 1), 0.3, dtype=torch.float64))
    np.testing.assert_allclose(same.coherence, 1.0, rtol=1e-12)
    opposite = split(nets, x, torch.tensor([[a + 0.2], [a - 0.2]] * 2, dtype=torch.float64))
    assert opposite.coherence[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert (opposite.per_example > 0).all()


def test_speeds_of_signals() -> None:
    """The book's speed averages, then takes the norm; the per-example one takes the norms of single examples."""
    nets = Ensemble(SIZES, 3, dtype=torch.float64)
    averaged = nets.learning_speed(X, Y)
    single = torch.stack([nets.learning_speed(X[i : i + 1], Y[i : i + 1]) for i in range(M)]).mean(0)
    for l, at in enumerate(nets.backpropagate(*nets.examples(X, Y))):
        torch.testing.assert_close(speed(at), averaged[:, l], rtol=1e-12, atol=0)
        torch.testing.assert_close(per_example_speed(at), single[:, l], rtol=1e-12, atol=0)
    assert (averaged < single).all()


@pytest.mark.parametrize(("depth", "slowest"), [(20, 1e-12), (45, 1e-28)])
def test_speeds_that_have_all_but_vanished(depth: int, slowest: float) -> None:
    """Squares of float32 numbers below 1e-23 are 0; a speed is not."""
    sizes = [3, *[10] * depth, 2]
    single, double = (Ensemble(sizes, 2, dtype=dtype) for dtype in (torch.float32, torch.float64))
    exact = double.learning_speed(X, Y)
    assert 0 < exact.min() < slowest
    torch.testing.assert_close(single.learning_speed(X, Y).double(), exact, rtol=1e-3, atol=0)
    ours = single.backpropagate(*single.examples(X, Y))
    for at, expected in zip(ours, double.backpropagate(*double.examples(X, Y)), strict=True):
        torch.testing.assert_close(speed(at).double(), speed(expected), rtol=1e-3, atol=0)
        torch.testing.assert_close(per_example_speed(at).double(), per_example_speed(expected), rtol=1e-3, atol=0)
    some, other = split(single, X, Y), split(double, X, Y)
    for name in ("speed", "per_example", "coherence", "alignment_w", "alignment_phi", "received"):
        np.testing.assert_allclose(getattr(some, name), getattr(other, name), rtol=1e-3)


# --- share of progress ---


def share_by_autograd(net: nn.Module, decay: float) -> Tensor:
    net.loss(X, Y).backward()
    progress = []
    for layer in net.layers:
        steps = (-(layer.weight.grad + decay * layer.weight), -layer.bias.grad)
        progress.append(-(layer.weight.grad * steps[0]).sum() - (layer.bias.grad * steps[1]).sum())
    total = sum(progress)
    return (torch.stack(progress) / (total if total > 0 else torch.nan)).detach()


@settings(deadline=None)
@given(nets=ensembles, decay=st.sampled_from([0.0, 1e-3, 0.1]))
def test_share_of_progress_is_its_definition(nets: Ensemble, decay: float) -> None:
    ours = share_of_progress(nets, X, Y, decay)
    for i in range(nets.members):
        expected = share_by_autograd(nets.member(i), decay)
        scale = float(expected.nan_to_num().abs().max())  # above 1 where decay works against a layer's gradient
        torch.testing.assert_close(ours[i], expected, rtol=1e-7, atol=1e-9 * (1 + scale), equal_nan=True)
        if expected.isfinite().all():
            assert ours[i].sum().item() == pytest.approx(1.0, abs=1e-9 * (1 + scale))


def test_share_of_progress_is_the_share_of_what_the_loss_falls() -> None:
    """Move one layer at a time, a little: the losses fall in proportion to the shares."""
    nets, tiny = Ensemble(SIZES, 3, seed=1, dtype=torch.float64), 1e-6
    share, before = share_of_progress(nets, X, Y), nets.loss(X, Y)
    falls = []
    for l, layer in enumerate(nets.layers):
        start, gradient = layer.copy(), layer.zeros()
        nets.backpropagate(*nets.examples(X, Y))[l].add_gradient_to(gradient, step=tiny)
        layer.w.sub_(gradient.w)
        layer.b.sub_(gradient.b)
        falls.append(before - nets.loss(X, Y))
        layer.copy_(start)
    fall = torch.stack(falls, -1)
    torch.testing.assert_close(fall / fall.sum(-1, keepdim=True), share, rtol=1e-4, atol=1e-7)


def times(cost: OutputCost, factor: float) -> OutputCost:
    def delta(z: Tensor, a: Tensor, y: Tensor, kernel: Kernel, out: Tensor) -> None:
        cost.delta(z, a, y, kernel, out)
        out.mul_(factor)

    return replace(cost, delta=delta)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("factor", [2.0**-80, 2.0**-10, 3.0, 2.0**60])
def test_share_of_progress_does_not_depend_on_the_scale_of_the_loss(factor: float, dtype: torch.dtype) -> None:
    nets = Ensemble(SIZES, 3, dtype=dtype)
    expected, speeds = share_of_progress(nets, X, Y), nets.learning_speed(X, Y)
    nets.cost = times(nets.cost, factor)
    torch.testing.assert_close(nets.learning_speed(X, Y), factor * speeds, rtol=1e-5, atol=0)  # it did change
    torch.testing.assert_close(share_of_progress(nets, X, Y), expected, rtol=1e-5, atol=1e-12)


def test_share_of_progress_is_not_a_number_where_there_is_none() -> None:
    nets = Ensemble([3, 2], members=2, cost="quadratic", output="linear", initializer="he", dtype=torch.float64)
    reached = nets.feedforward(X)[-1].a[1].clone()  # member 1 is asked for what it says already
    share = share_of_progress(nets, X, reached)
    assert share[0].tolist() == [1.0]
    assert share[1].isnan().all()


def test_decay_against_the_gradient_takes_progress_away() -> None:
    """With enough decay a step raises the loss: then no share is claimed."""
    nets = Ensemble([1, 1], cost="quadratic", output="linear", initializer="constant", dtype=torch.float64)
    data = torch.tensor([[1.0]]), torch.tensor([[2.0]])  # the weight of 1 should grow
    assert share_of_progress(nets, *data).item() == 1.0
    assert share_of_progress(nets, *data, decay=1.9).item() == 1.0
    assert share_of_progress(nets, *data, decay=2.1).isnan().all()

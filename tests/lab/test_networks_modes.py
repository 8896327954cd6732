"""Training runs in inference mode; nobody outside may notice."""

import torch

from undertow.lab import Ensemble

X, Y = torch.rand(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3


def test_an_observer_may_use_autograd_on_what_it_keeps():
    nets, gradients = Ensemble([4, 3, 3], members=2), []

    def observe(_t, signals):
        delta = signals[0].delta.clone().requires_grad_()
        delta.square().sum().backward()
        gradients.append(delta.grad)

    nets.train((X, Y), epochs=1, batch_size=10, eta=0.1, observe=observe)
    assert len(gradients) == 2
    assert all(g.abs().sum() > 0 for g in gradients)


def test_passes_work_with_and_without_inference_mode_in_any_order():
    nets = Ensemble([4, 3, 3], members=2)
    with torch.inference_mode():
        first = nets.learning_speed(X, Y)
    second = nets.learning_speed(X, Y)
    nets.train((X, Y), epochs=1, batch_size=20, eta=0.0)
    third = nets.learning_speed(X, Y)
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_inputs_that_want_gradients_and_read_only_ones_are_taken_as_numbers():
    nets = Ensemble([4, 3, 3], members=2)
    frozen = X.numpy().copy()
    frozen.flags.writeable = False
    wanting = X.clone().requires_grad_()
    assert torch.equal(nets.learning_speed(frozen, Y), nets.learning_speed(X, Y))
    assert torch.equal(nets.learning_speed(wanting, Y), nets.learning_speed(X, Y))


def test_a_member_can_be_trained_after_its_ensemble():
    nets = Ensemble([4, 3, 3], members=2)
    nets.train((X, Y), epochs=1, batch_size=10, eta=0.1)
    member = nets.member(0)
    member.loss(X, Y).backward()
    assert all(p.grad is not None for p in member.parameters())

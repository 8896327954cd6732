"""Losses that jump: noise, falling losses and single hard batches don't."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rules.trainings import adam, chain, classified
from undertow.analysis.loss_spikes import spikes_of


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), length=st.integers(20, 400), noise=st.floats(0.01, 0.3))
def test_noise_and_a_loss_that_falls_are_no_spikes(seed, length, noise):
    rng = np.random.default_rng(seed)
    losses = (0.5 + 2 * 0.98 ** np.arange(length)) * np.exp(noise * rng.standard_normal(length))
    assert spikes_of(losses) == []


def test_a_single_hard_batch_is_no_spike_but_two_are():
    calm = 1 + 0.05 * np.random.default_rng(0).standard_normal(200)
    one, two = calm.copy(), calm.copy()
    one[100], two[100:102] = 1.9, 1.9
    assert spikes_of(one) == []
    assert [(spike.first, spike.last) for spike in spikes_of(two)] == [(100, 101)]


@pytest.mark.parametrize("rows", [2, 4, 16])
def test_small_batches_are_no_spikes(rows):
    """A training on batches of a few examples: hard ones come by the dozen."""
    torch.manual_seed(0)
    model, loss, losses = chain(nn.ReLU, 3, gain=2.0), classified(rows), []
    optimizer = adam(model, 3e-3)
    for step in range(1000):
        optimizer.zero_grad()
        value = loss(model, step)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert spikes_of(np.array(losses)) == []

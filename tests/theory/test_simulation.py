"""Random networks that are drawn."""

import pytest

from undertow.theory import simulation
from undertow.theory.propagation import Layer


def test_networks_of_infinite_width_cannot_be_drawn():
    with pytest.raises(ValueError, match="finite widths"):
        simulation.gradient_norms([Layer("relu", 2.0)] * 2)

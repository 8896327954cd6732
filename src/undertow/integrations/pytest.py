"""A plugin of pytest: fixtures that assert in a test of a model that its gradients flow, and that it trains.

``pip install undertow`` is enough, there is nothing to import::

    def test_the_gradient_gets_through(assert_gradients_flow):
        assert_gradients_flow(net, lambda: cross_entropy(net(x), y))

    def test_it_trains(assert_trains):
        assert_trains(undertow.Training(model=Net, batches=loader, loss=loss, optimizer=adam), steps=100)

Starting pytest loads neither torch nor NumPy for it: the first test that asks for a fixture does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from undertow.extras import needed

if TYPE_CHECKING:
    import pytest
else:
    pytest = needed("pytest", "pytest", "a plugin of pytest")

__all__ = ["assert_gradients_flow", "assert_trains"]


@pytest.fixture(scope="session")
def assert_gradients_flow() -> Callable[..., Any]:
    """Return `undertow.testing.assert_gradients_flow`: ``assert_gradients_flow(model, loss)``."""
    from undertow.testing import assert_gradients_flow

    return assert_gradients_flow


@pytest.fixture(scope="session")
def assert_trains() -> Callable[..., Any]:
    """Return `undertow.testing.assert_trains`: ``assert_trains(training)``."""
    from undertow.testing import assert_trains

    return assert_trains

"""Assertions for the tests of models, and the contracts of rules, remedies, renderers and trackers, which ours pass.

`assert_gradients_flow` and `assert_trains` are for whoever tests a model; ``check_...`` for whoever adds to undertow.
"""

from undertow.testing.assertions import assert_gradients_flow, assert_trains
from undertow.testing.remedies import check_remedy
from undertow.testing.renderers import check_renderer
from undertow.testing.rules import check_rule
from undertow.testing.trackers import check_tracker

__all__ = ["assert_gradients_flow", "assert_trains", "check_remedy", "check_renderer", "check_rule", "check_tracker"]

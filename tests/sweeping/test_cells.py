"""A cell is known by its settings."""

from undertow.sweeping import Spec
from undertow.sweeping.cells import key_of
from undertow.sweeping.running import SweepPlan


def test_a_cell_is_the_same_however_it_is_written():
    def keys(**settings):
        return [cell.key for cell in SweepPlan.of(Spec.of({"cell": {"data": "digits"} | settings})).cells]

    assert keys() == keys(depth=1) == keys(eta=0.1, depth=1, seed=0)
    assert keys(eta=1) == keys(eta=1.0) != keys(eta=2)
    assert key_of({"a": [1.0, 2]}) == key_of({"a": [1, 2.0]}) != key_of({"a": [2, 1]})
    assert key_of({"a": True}) != key_of({"a": 1})

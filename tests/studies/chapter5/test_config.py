"""The chapter's amounts: quick is less of the same."""

import numpy as np

from undertow.studies.chapter5.config import config


def test_a_quick_grid_is_a_part_of_the_whole_one():
    quick, whole = (config(quick).grid for quick in (True, False))
    assert set(quick.weight_var) <= set(whole.weight_var)
    assert set(quick.bias_var) <= set(whole.bias_var)
    assert np.prod(quick.shape) < np.prod(whole.shape) / 10


def test_quick_is_less_of_the_same():
    quick, whole = config(quick=True), config(quick=False)
    assert (quick.members, quick.epochs, quick.descent_steps) == (2, 3, 50)
    assert (whole.members, whole.epochs, whole.descent_steps) == (8, 30, 500)
    assert config(quick=True, members=5).members == config(quick=False, members=5).members == 5

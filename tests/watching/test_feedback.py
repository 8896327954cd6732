"""In what precision devices add up squares, as the writer's thread learns it."""

import numpy as np
import pytest

from undertow.watching.feedback import Feedback


def feedback() -> Feedback:
    return Feedback(lambda: None)


def test_a_gradient_of_zeros_is_taken_in_float64_ever_more_rarely() -> None:
    """A branch that begins at 0, or a layer that is dead, makes no later step dearer."""
    told, precise = feedback(), []
    for _ in range(1000):
        told.saw_norms("gradient", 0.0)
        precise.append(told.precise)
    assert precise[0]  # nobody knows yet whether something was lost
    assert sum(precise) == 10  # after the 1st, 2nd, 4th, ..., 512th


@pytest.mark.parametrize("norm", [1e-20, 1e20, np.inf, np.nan])
def test_what_float32_could_not_square_stays_in_float64(norm: float) -> None:
    told = feedback()
    told.saw_norms("Sites", np.array([1.0, norm]))
    told.saw_norms("Sites", np.array([1.0, 1.0]))
    assert told.precise


def test_zeros_at_one_site_do_not_hide_what_another_lost() -> None:
    told = feedback()
    for _ in range(3):
        told.saw_norms("Sites", np.array([0.0, 1.0]))
    assert not told.precise
    told.saw_norms("Sites", np.array([0.0, 1e-20]))
    assert told.precise


def test_other_norms_do_not_answer_for_those_that_were_zero() -> None:
    told = feedback()
    told.saw_norms("Sites", np.array([0.0, 1.0]))
    told.saw_norms("gradient", 1.0)
    assert told.precise  # the next full step is to tell
    told.saw_norms("Sites", np.array([1.0, 1.0]))
    assert not told.precise

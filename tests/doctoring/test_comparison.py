"""When a remedy helps: effects, noise, and several looks."""

import numpy as np
import pytest

from undertow.doctoring import Verdict
from undertow.doctoring.comparison import compare, corrected, holm
from undertow.doctoring.course import FIRST_LOOK


class TestComparison:
    def test_noise_is_no_effect(self):
        draws = np.random.default_rng(0)
        wrong = 0
        for _ in range(200):
            control, treated = draws.normal(size=(2, 5))
            wrong += compare((), range(5), control, treated, start=-1.0).verdict is not Verdict.NO_EFFECT
        assert wrong / 200 < 0.08

    def test_a_tiny_effect_does_not_matter(self):
        assert compare((), range(4), [0.9] * 4, [0.901] * 4, start=0.1).verdict is Verdict.NO_EFFECT

    def test_one_seed_proves_nothing(self):
        assert compare((), [0], [0.1], [0.9], start=0.0).verdict is Verdict.UNTESTED

    def test_a_second_look_decides_where_seeds_differ_and_costs_its_part_of_the_error(self):
        """One seed in five trains as it is: that a remedy helps the others is seen with ten seeds."""
        five, ten = [0.9, 0.1, 0.2, 0.5, 0.1], [0.9, 0.1, 0.2, 0.5, 0.1, 0.1, 0.3, 0.9, 0.1, 0.2]
        first = corrected([compare((), range(5), five, [0.9] * 5, 0.1)] * 2, FIRST_LOOK)[0]
        second = corrected([compare((), range(10), ten, [0.9] * 10, 0.1)], 1 - FIRST_LOOK)[0]
        assert (first.verdict, second.verdict) == (Verdict.NO_EFFECT, Verdict.HELPS)

    def test_two_looks_err_no_more_often_than_one(self):
        draws, wrong = np.random.default_rng(1), 0
        for _ in range(400):
            control, treated = draws.normal(size=(2, 10))
            looks = [(5, FIRST_LOOK), (10, 1 - FIRST_LOOK)]
            wrong += any(
                corrected([compare((), range(n), control[:n], treated[:n], -1.0)], part)[0].verdict
                is not Verdict.NO_EFFECT
                for n, part in looks
            )
        assert wrong / 400 < 0.08

    def test_what_is_untested_does_not_count(self):
        found = corrected([compare((), [], [], [], 0.0), compare((), range(3), [0.1] * 3, [0.3, 0.32, 0.29], 0.1)])
        assert [str(each.verdict) for each in found] == ["UNTESTED", "HELPS"]
        assert found[1].p == pytest.approx(compare((), range(3), [0.1] * 3, [0.3, 0.32, 0.29], 0.1).p)

    def test_holm_is_monotone_and_at_most_bonferroni(self):
        p = [0.001, 0.02, 0.04, 0.3]
        assert all(a <= b for a, b in zip(holm(p), sorted(holm(p)), strict=True))
        assert all(each <= min(1, 4 * raw) for each, raw in zip(holm(p), p, strict=True))

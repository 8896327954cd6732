"""How long the doctor may take, and how many steps that is."""

import pytest

from undertow.doctoring.budget import Budget, seconds_of


class TestBudget:
    @pytest.mark.parametrize("wrong", ["soon", "", -1, 0, "5x", "m"])
    def test_what_is_no_time_is_said(self, wrong):
        with pytest.raises(ValueError, match="write how long the doctor may take"):
            seconds_of(wrong)

    def test_more_time_never_means_fewer_steps(self):
        steps = [Budget(seconds, 0.01, 2).full for seconds in (1, 10, 60, 300, 3000)]
        assert steps == sorted(steps)
        assert Budget(1e6, 0.01, 2, steps=70).full == 70

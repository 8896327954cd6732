"""A few hundred cases of `make attack`, spread over everything that is read: none ends where it shouldn't."""

import numpy as np
import pytest

from attack.targets import FAILURES, HEADER, TARGETS, Room, counts, outcome, run_of
from undertow.record import Run

CASES = 300


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return Room(tmp_path_factory.mktemp("attack"))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_ends_in_a_traceback_a_hang_or_a_silent_change(room, name):
    failed = {}
    for seed in range(counts(CASES)[name]):
        ended, error = outcome(name, room, seed)
        if ended in FAILURES:
            failed[seed] = f"{ended}: {error!r}"
    assert not failed


@pytest.mark.parametrize("name", TARGETS)
def test_cases_are_told_by_their_number(room, name):
    assert [outcome(name, room, seed)[0] for seed in range(3)] == [outcome(name, room, seed)[0] for seed in range(3)]


def test_what_is_attacked_is_a_run():
    run = run_of(np.random.default_rng(0))
    assert run.header == HEADER
    assert Run.from_dict(run.to_dict()) == run

"""Means are compared with regard to luck."""

from undertow.studies.statistics import compare


def test_one_network_tells_nothing_of_luck():
    step = compare([96.0], [97.0])
    assert not step.significant
    assert step.said == "too few to tell"
    assert not compare([96.0, 96.0], [97.0, 97.0]).significant

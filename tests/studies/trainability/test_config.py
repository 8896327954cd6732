"""The size of the map."""

from undertow.studies.trainability import config


def test_the_whole_map_is_of_a_thousand_networks():
    assert config(quick=False).networks >= 1000

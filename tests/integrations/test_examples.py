"""The scripts in examples/ that use other people's trainers."""

import logging

import pytest

from scripts import EXAMPLES, faults, printed
from test_examples import OTHERS


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_script_is_broken_in_is_found_first_and_nothing_when_it_is_mended(name):
    assert faults(printed(EXAMPLES / f"{name}.py"))[0] == OTHERS[name]
    assert not faults(printed(EXAMPLES / f"{name}.py", "--mended"))

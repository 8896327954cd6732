"""The maps of a quick run of the study."""

import pytest


@pytest.fixture
def maps(results):
    return results["maps"]

import pytest

from undertow.remedies import KINDS
from undertow.rules import RULES


@pytest.fixture(autouse=True)
def registries():
    """What a test registers is forgotten after it."""
    known = [(registry, dict(registry)) for registry in (RULES, KINDS)]
    yield
    for registry, before in known:
        registry.clear()
        registry.update(before)

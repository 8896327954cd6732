import httpx
import pytest

from sample_runs import large
from serving.processes import serving
from undertow.store import save_run


@pytest.fixture(scope="session")
def large_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    save_run(large(), folder / "large.undertow")
    return folder


@pytest.fixture(scope="session")
def served(runs):
    with serving(runs) as address:
        yield address


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """An empty folder and the address it is served at, for tests that put Runs there."""
    folder = tmp_path_factory.mktemp("workshop") / "runs"
    folder.mkdir()
    with serving(folder) as address:
        yield folder, address


@pytest.fixture
def get(served):
    with httpx.Client(base_url=served, timeout=20) as client:
        yield client.get

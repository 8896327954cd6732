import httpx
import pytest

from serve.making import HOSTILE, large, sigmoid, trained
from serve.processes import serving
from undertow.store import save_run


@pytest.fixture(scope="session")
def small_run():
    return trained(60)


@pytest.fixture(scope="session")
def hostile_run():
    from torch import nn

    inner = sigmoid(2)
    net = nn.Sequential()
    for place, layer in enumerate(inner):
        net.add_module(f"{place}{HOSTILE}".replace(".", "․"), layer)
    run = trained(5, net)
    run.header["model"] = HOSTILE
    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory, small_run, hostile_run):
    """A folder with a Run, one in a folder of its own, a hostile one, and files that are none."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "deep").mkdir()
    save_run(small_run, folder / "first.undertow")
    save_run(small_run, folder / "deep" / "second & third.undertow")
    save_run(hostile_run, folder / f"{HOSTILE.replace('/', '')}.undertow")
    (folder / "broken.undertow").write_bytes(b"SQLite format 3\0 and then nothing of the kind" * 9)
    (folder / "notes.txt").write_text("not a run")
    return folder


@pytest.fixture(scope="session")
def large_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    save_run(large(), folder / "large.undertow")
    return folder


@pytest.fixture(scope="session")
def served(runs):
    with serving(runs) as address:
        yield address


@pytest.fixture
def get(served):
    with httpx.Client(base_url=served, timeout=20) as client:
        yield client.get

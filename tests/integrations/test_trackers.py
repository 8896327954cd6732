"""Our own trackers keep the contract of trackers, read back by their own packages."""

from pathlib import Path

import pytest
import torch

import undertow
from undertow.integrations.trackers import OURS, names, tracker
from undertow.integrations.tracking import follow
from undertow.testing import check_tracker
from undertow.testing.trackers import TOLD

NAMES = list(next(iter(TOLD.values())))


def test_tensorboard(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = str(tmp_path / "events")

    def read() -> dict[str, list[tuple[int, float]]]:
        found = events.EventAccumulator(folder)
        found.Reload()
        return {name: [(each.step, each.value) for each in found.Scalars(name)] for name in NAMES}

    check_tracker(lambda: tracker("tensorboard", folder), read)
    assert (tmp_path / "events" / "undertow.html").is_file()


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(f"file:{tmp_path / 'store'}")
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run:

        def read() -> dict[str, list[tuple[int, float]]]:
            history = {name: client.get_metric_history(run.info.run_id, name) for name in NAMES}
            return {name: [(each.step, each.value) for each in rows] for name, rows in history.items()}

        check_tracker(lambda: tracker("mlflow"), read)


def test_a_tracker_is_followed_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LookupError, match="there is no tracker 'acme'; there are: mlflow, tensorboard"):
        follow("first.undertow", "acme")
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with undertow.watch(net, optimizer, "first.undertow", every=1) as watcher:
        follower = follow(watcher, "tensorboard")
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(4, 2)).square().mean().backward()
            optimizer.step()
    follower.close()
    found = events.EventAccumulator("runs/tensorboard")
    found.Reload()
    assert [each.step for each in found.Scalars("undertow/loss")] == [0, 1, 2]


def test_names_are_those_of_leaves() -> None:
    leaves = {path.stem for path in Path(tracker.__code__.co_filename).parent.glob("*.py")}
    assert set(OURS) <= leaves & set(names())

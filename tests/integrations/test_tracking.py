"""What trackers are told of a Run is what the Run holds, whoever is told; training doesn't notice."""

import contextlib
import json
import logging
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import undertow
from undertow.diagnosis import Diagnosis
from undertow.doctoring.comparison import compare
from undertow.integrations._session import Session
from undertow.integrations.tracking import PREFIX, follow, key_numbers, tell_treatment

STEPS = 24


class Listener:
    """A tracker as the documentation has it."""

    def __init__(self):
        self.rows, self.findings, self.pages, self.tables = [], [], [], []

    def scalars(self, step, values):
        self.rows.append((step, dict(values)))

    def finding(self, step, finding):
        self.findings.append((step, finding.code))

    def page(self, path):
        self.pages.append(path.read_text())

    def table(self, name, columns, rows):
        self.tables.append((name, list(columns), [list(row) for row in rows]))


def vanishing():
    layers = [part for _ in range(9) for part in (nn.Linear(6, 6), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(6, 1))


def trained(path, begin=lambda _: None, each=lambda _: None, steps=STEPS):
    torch.manual_seed(0)
    model = vanishing()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with undertow.watch(model, optimizer, path, every=3, overhead=1.0, stop_on=["error"]) as watcher:
        followed = begin(watcher)
        for step in range(steps):
            optimizer.zero_grad()
            model(torch.randn(16, 6)).square().mean().backward()
            optimizer.step()
            each(step)
    if followed is not None:
        followed.close()
    return model, undertow.open_run(path)


def expected(run):
    """The numbers of a Run, by step, read off it as a whole."""
    found = defaultdict(dict)
    for name in ("loss", "lr", "grad_norm", "grad_norm_unclipped"):
        for step, value in zip(run.scalars["step"], run.scalars[name], strict=True):
            if not np.isnan(value):
                found[int(step)][PREFIX + name] = value
    for row, step in enumerate(run.steps["step"]):
        found[int(step)] |= key_numbers(run, row)
    return dict(found)


def test_every_observed_step_is_told_once_and_in_order(tmp_path: Path) -> None:
    listener = Listener()
    _, run = trained(tmp_path / "first.undertow", lambda watcher: follow(watcher, listener, every=0.01))
    told = defaultdict(dict)
    for step, values in listener.rows:
        told[step] |= values
    wanted = expected(run)
    assert set(told) == set(wanted)
    for step, values in told.items():  # of many full steps at one look some are left out, never what is light
        assert all(wanted[step][name] == value for name, value in values.items())
        assert PREFIX + "loss" in values
    assert len(listener.pages) == 1
    assert "UT101" in listener.pages[0]
    codes = [code for _, code in listener.findings]
    assert "UT101" in codes
    assert len(codes) == len(set(codes))


def test_the_dozen_is_what_the_diagnosis_says(tmp_path: Path) -> None:
    _, run = trained(tmp_path / "first.undertow")
    path = Diagnosis(run, -1).gradient_path
    numbers = key_numbers(run, len(run) - 1)
    ends = run.column("grad_output")[[path.waypoints[0], path.waypoints[-1]]]
    assert [numbers[PREFIX + "path/at_loss"], numbers[PREFIX + "path/at_front"]] == ends.tolist()
    assert numbers[PREFIX + "path/decades"] == pytest.approx(np.log10(ends[1] / ends[0]), abs=1e-6)
    assert numbers[PREFIX + "path/slope"] < -0.3
    learning = [site for site in run.sites if site.parameters]
    slowest = min(learning, key=lambda site: run.column("update_ratio")[site.index])
    assert numbers[PREFIX + "layers/slowest_update_ratio"] == run.column("update_ratio")[slowest.index]
    assert 1 <= numbers[PREFIX + "layers/slowest_depth"] <= 10
    assert len(numbers) + 4 == 12


def test_training_is_the_same_and_a_trackers_error_ends_the_following_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaks(Listener):
        def scalars(self, step, values):
            raise RuntimeError("the network is gone")

    plain, _ = trained(tmp_path / "first.undertow")
    with caplog.at_level(logging.WARNING, "undertow"):
        followed, run = trained(tmp_path / "second.undertow", lambda watcher: follow(watcher, Breaks(), every=0.01))
    assert caplog.text.count("Breaks is told nothing more: RuntimeError: the network is gone") == 1
    assert len(run.scalars["step"]) >= STEPS // 3
    for a, b in zip(plain.parameters(), followed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_finished_run_is_told_from_its_path(tmp_path: Path) -> None:
    _, run = trained(tmp_path / "first.undertow")
    listener = Listener()
    follow(tmp_path / "first.undertow", listener)._thread.join(60)  # by itself: the Run has ended
    assert [step for step, _ in listener.rows] == sorted(expected(run))
    assert len(listener.pages) == 1


def test_trainers_leaves_take_trackers(tmp_path: Path) -> None:
    """Given as a class, one is made for every fit, when its run can have begun."""
    made: list[Listener] = []

    class Kept(Listener):
        def __init__(self):
            super().__init__()
            made.append(self)

    session = Session(tmp_path / "first.undertow", every=2, overhead=1.0, trackers=[Kept])
    model = vanishing()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for fit in range(2):
        session.begin(model, [optimizer], tmp_path, 6 * fit)
        for _ in range(6):
            optimizer.zero_grad()
            model(torch.randn(16, 6)).square().mean().backward()
            optimizer.step()
        session.end()
        assert len(made) == fit + 1
        assert len(made[-1].pages) == 1
    assert made[0].rows[-1][0] < 6 <= made[1].rows[-1][0]


def comparisons():
    return [compare((), [0, 1, 2], [0.1, 0.12, 0.09], [0.9, 0.92, 0.91], start=0.1)]


def test_what_the_doctor_compared_is_a_table() -> None:
    listener = Listener()
    tell_treatment(comparisons(), listener)
    ((name, columns, rows),) = listener.tables
    assert name == "doctor"
    assert dict(zip(columns, rows[0], strict=True)) | {"low": 0, "high": 0, "p": 0} == {
        "remedies": "none", "verdict": "HELPS", "control": pytest.approx(0.1033, abs=1e-3), "seeds": 3,
        "treated": pytest.approx(0.91), "effect": pytest.approx(0.8067, abs=1e-3), "low": 0, "high": 0, "p": 0,
    }  # fmt: skip


def test_wandb(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    done = in_process(
        """
        import wandb
        from undertow.integrations.wandb import WandbTracker, track
        from test_tracking import comparisons, tell_treatment, trained

        run = wandb.init(project="deep", dir=str(folder), mode="offline")
        users = lambda step: run.log({"mine": float(step)}, step=10 * step)  # no step of ours may come between
        trained(folder / "first.undertow", lambda watcher: track(watcher, every=0.01), users)
        tell_treatment(comparisons(), WandbTracker())
        run.finish()
        alone = wandb.init(project="deep", dir=str(folder / "alone"), mode="offline")
        trained(folder / "second.undertow", lambda watcher: track(watcher, alone=True, every=0.01))
        alone.finish()
        """,
        tmp_path,
    )
    assert "must be monotonically increasing" not in done
    rows, other = wandb_history(tmp_path / "wandb"), wandb_history(tmp_path / "alone" / "wandb")
    assert [row["mine"] for row in rows["history"] if "mine" in row] == [float(step) for step in range(STEPS)]
    ours = [row for row in rows["history"] if PREFIX + "step" in row]
    wanted = expected(undertow.open_run(tmp_path / "first.undertow"))
    assert ours
    for row in ours:
        loss = row.get(PREFIX + "loss")
        assert loss is None or loss == pytest.approx(wanted[row[PREFIX + "step"]][PREFIX + "loss"])
    assert any("UT101" in alert for alert in rows["alerts"])
    assert any(name.startswith("undertow-") for name in rows["artifacts"])
    assert any(name.startswith(PREFIX + "doctor") for row in rows["history"] for name in row)
    assert (PREFIX + "*", PREFIX + "step") in rows["metrics"]
    told = [row[PREFIX + "step"] for row in other["history"] if PREFIX + "step" in row]
    assert told == sorted(expected(undertow.open_run(tmp_path / "second.undertow")))


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    from undertow.integrations.mlflow import MlflowTracker, track

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for store in (f"file:{tmp_path / 'store'}",):
        mlflow.set_tracking_uri(store)
        with pytest.raises(ValueError, match="no run of MLflow's is active"):
            MlflowTracker()
        with mlflow.start_run() as active:
            _, run = trained(tmp_path / "first.undertow", lambda watcher: track(watcher, every=0.01))
            tell_treatment(comparisons(), MlflowTracker())
        client = mlflow.MlflowClient()
        history = client.get_metric_history(active.info.run_id, PREFIX + "loss")
        wanted = expected(run)
        assert {m.step: m.value for m in history} == {step: row[PREFIX + "loss"] for step, row in wanted.items()}
        slopes = client.get_metric_history(active.info.run_id, PREFIX + "path/slope")
        assert all(m.value == wanted[m.step][PREFIX + "path/slope"] for m in slopes)
        tags = client.get_run(active.info.run_id).data.tags
        assert tags["undertow.UT101"].startswith("error at step")
        assert {each.path for each in client.list_artifacts(active.info.run_id, "undertow")} == {
            "undertow/undertow.html",
            "undertow/doctor.json",
        }
        table = mlflow.artifacts.load_dict(f"{active.info.artifact_uri}/undertow/doctor.json")
        assert table["data"][0][:2] == ["none", "HELPS"]


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from undertow.integrations.tensorboard import SummaryWriter, TensorBoardTracker, track

    writer = SummaryWriter(str(tmp_path / "events"))
    _, run = trained(tmp_path / "first.undertow", lambda watcher: track(watcher, writer, every=0.01))
    tell_treatment(comparisons(), TensorBoardTracker(writer))
    writer.close()
    read = EventAccumulator(str(tmp_path / "events"))
    read.Reload()
    wanted = expected(run)
    for event in read.Scalars(PREFIX + "loss"):
        assert event.value == pytest.approx(wanted[event.step][PREFIX + "loss"])
    assert [event.step for event in read.Scalars(PREFIX + "loss")] == sorted(wanted)
    texts = {tag.removesuffix("/text_summary") for tag in read.Tags()["tensors"]}
    assert {PREFIX + "UT101", PREFIX + "doctor"} <= texts
    assert "UT101" in (tmp_path / "events" / "undertow.html").read_text()


def test_trackio(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    in_process(
        """
        import trackio
        from undertow.integrations.trackio import TrackioTracker, track
        from test_tracking import comparisons, tell_treatment, trained

        trackio.init(project="deep", name="first", embed=False)
        trained(folder / "first.undertow", lambda watcher: track(watcher, every=0.01))
        tell_treatment(comparisons(), TrackioTracker())
        trackio.finish()
        import json
        from trackio.sqlite_storage import SQLiteStorage
        told = {"logs": SQLiteStorage.get_logs("deep", "first"), "alerts": SQLiteStorage.get_alerts("deep")}
        (folder / "told.json").write_text(json.dumps(told, default=str))
        """,
        tmp_path,
        TRACKIO_DIR=str(tmp_path / "trackio"),
    )
    told = json.loads((tmp_path / "told.json").read_text())
    wanted = expected(undertow.open_run(tmp_path / "first.undertow"))
    losses = {row["step"]: row[PREFIX + "loss"] for row in told["logs"] if PREFIX + "loss" in row}
    assert losses == {step: pytest.approx(row[PREFIX + "loss"]) for step, row in wanted.items()}
    assert any("UT101" in alert["title"] for alert in told["alerts"])
    assert any(PREFIX + "doctor" in row for row in told["logs"])
    assert list((tmp_path / "trackio").rglob("*"))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_without_a_run_one_sentence_says_what_to_do(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    code = f"""
        from undertow.integrations.{name} import track
        try:
            track(folder / "first.undertow")
        except ValueError as error:
            print(error)
        """
    assert f"call {name}.init() first" in in_process(code, tmp_path)


def test_at_the_programs_end_the_rest_is_told(tmp_path: Path) -> None:
    code = """
        import torch, undertow
        from undertow.integrations._session import Session
from undertow.integrations.tracking import follow
        from test_tracking import Listener

        class Printer(Listener):
            def scalars(self, step, values):
                print("step", step, flush=True)
            def page(self, path):
                print("page", flush=True)

        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watcher = undertow.watch(model, optimizer, folder / "first.undertow", every=1)
        follow(watcher, Printer(), every=600)
        for _ in range(3):
            model(torch.ones(4, 2)).sum().backward()
            optimizer.step()
        """
    assert [line for line in in_process(code, tmp_path).split("\n") if line in {"step 2", "page"}] == ["step 2", "page"]


def in_process(code: str, folder: Path, **environment: str) -> str:
    """Run lines in a process of their own, as those packages keep one run in each; return what it said."""
    lines = [line.removeprefix("        ") for line in code.strip("\n").split("\n")]
    paths = [str(Path(__file__).parent), *sys.path]
    begin = f"import sys, pathlib; sys.path[:0] = {paths!r}; folder = pathlib.Path({str(folder)!r})"
    env = {**os.environ, "WANDB_SILENT": "true", **environment}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([begin, *lines])],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def wandb_history(folder: Path) -> dict[str, list]:
    """Read what an offline run of wandb's holds: a LevelDB log of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("offline-run-*/*.wandb")
    found: dict[str, list] = {"history": [], "alerts": [], "artifacts": [], "metrics": []}
    for data in leveldb_records(file.read_bytes()[7:]):
        record = Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            keys = ((item.key or "/".join(item.nested_key), item.value_json) for item in record.history.item)
            found["history"].append({key: json.loads(value) for key, value in keys})
        elif record.HasField("alert"):
            found["alerts"].append(record.alert.title)
        elif record.HasField("artifact"):
            found["artifacts"].append(record.artifact.name)
        elif record.HasField("metric"):
            found["metrics"].append((record.metric.glob_name or record.metric.name, record.metric.step_metric))
        elif record.HasField("request"):
            with contextlib.suppress(AttributeError):
                found["artifacts"].append(record.request.log_artifact.artifact.name)
    return found


def leveldb_records(data: bytes):
    """Yield the records of a LevelDB log whose header of 7 bytes was cut off."""
    block, whole, place = 32768, b"", 0
    while place + 7 <= len(data):
        left = block - (place + 7) % block
        if left < 7:
            place += left
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            yield whole
            whole = b""

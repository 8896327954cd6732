"""Whatever happens to the file, training goes on: no call raises or waits, one warning says what is wrong."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from store import growing
from undertow.record import Role, Site
from undertow.store import StoreError, open_run, save_run
from undertow.watching import RunWriter

SITES = tuple(Site(i, f"layers.{i}", "addmm", Role.WEIGHT) for i in range(100))
NUMBERS = np.arange(100, dtype=np.float32)


def train(writer, steps, start=0):
    """What a training loop calls; how many steps were taken."""
    graph = writer.graph(SITES, ())
    rows = [{"grad_output": NUMBERS + step * np.float32(np.pi)} for step in range(start, start + steps)]
    return sum(writer.taped(start + i, 0.0, graph, row, {}, {"loss": 1.0}) for i, row in enumerate(rows))


def whole(path, steps):
    run = open_run(path)
    assert np.array_equal(run.steps["step"][:steps], np.arange(steps))
    assert np.array_equal(run.columns["grad_output"][7], NUMBERS + 7 * np.float32(np.pi))
    return run


@contextlib.contextmanager
def tmpfs(folder, options):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs to be allowed to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("journal", ["wal", "rollback"])
def test_a_full_disk(tmp_path, journal):
    with tmpfs(tmp_path, "size=1m"):
        filler, path = tmp_path / "filler", tmp_path / "run.undertow"
        writer = RunWriter(path, {}, journal=journal)
        assert train(writer, 50) == 50
        assert writer.flush()
        filler.write_bytes(b"." * (shutil.disk_usage(tmp_path).free - 4096))
        assert train(writer, 2000, 50) == 2000, "there is room in memory"
        assert not writer.flush(timeout=3)
        with pytest.warns(RuntimeWarning, match=r"run.undertow can't be written at the moment: .*(full|I/O)"):
            train(writer, 1, 2050)
        assert "full" in writer.troubled or "I/O" in writer.troubled
        whole(path, 50)
        subprocess.run(["mount", "-o", "remount,size=64m", tmp_path], check=True)
        assert writer.flush()
        assert writer.troubled is None
        assert writer.close()
        assert len(whole(path, 2051)) == 2051


def test_a_disk_that_stays_full_loses_what_came_after_and_nothing_else(tmp_path, caplog):
    with tmpfs(tmp_path, "size=512k"):
        path = tmp_path / "run.undertow"
        writer = RunWriter(path, {}, queue_bytes=1 << 20)
        train(writer, 50)
        assert writer.flush()
        train(writer, 5000, 50)
        writer.flush(timeout=3)
        with pytest.warns(RuntimeWarning, match="can't be written at the moment"):
            assert not writer.close()
        assert "the last steps" in caplog.text
        whole(path, 50)


LIMITED = """
import resource, sys, warnings
import numpy as np
from undertow.record import Role, Site
from undertow.watching import RunWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
writer = RunWriter(sys.argv[1], {})
graph = writer.graph([Site(i, "x", "addmm", Role.WEIGHT) for i in range(100)], ())
for step in range(3000):
    row = np.arange(100, dtype=np.float32) + step * np.float32(np.pi)
    writer.taped(step, 0.0, graph, {"grad_output": row}, {}, {"loss": 1.0})
    if step in (49, 2000):
        writer.flush(2)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    writer.close()
print(step, len(caught))
"""


def test_a_limit_on_the_size_of_files(tmp_path):
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path / "run.undertow"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2999")
    assert done.stderr.count("RuntimeWarning") + int(done.stdout.split()[1]) == 1
    whole(tmp_path / "run.undertow", 50)


def test_a_folder_that_takes_no_files(tmp_path):
    with tmpfs(tmp_path, "ro"):
        with pytest.warns(RuntimeWarning, match="nothing of this run is recorded, because .* can't be written"):
            writer = RunWriter(tmp_path / "run.undertow", {})
        assert train(writer, 3) == 0, "and no second warning, which would be an error here"
        assert not writer.flush()
        assert not writer.close()


@pytest.mark.parametrize("left", ["-wal", "-shm"])
def test_a_killed_run_on_a_file_system_that_became_read_only(tmp_path, left):
    with tmpfs(tmp_path, "size=8m"):
        path = tmp_path / "run.undertow"
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, path, Path(__file__).parents[1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        process.stdout.readline()
        process.kill()
        process.communicate()
        assert Path(f"{path}-wal").stat().st_size
        if left == "-wal":
            Path(f"{path}-shm").unlink()
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        whole(path, 10)


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from watching.test_run_writer import RunWriter, train
writer = RunWriter(sys.argv[1], {}, journal="wal")
train(writer, 10)
print(writer.flush(), flush=True)
sys.stdin.read()
"""


def test_a_file_deleted_underneath(tmp_path):
    path = tmp_path / "run.undertow"
    writer = RunWriter(path, {})
    train(writer, 10)
    assert writer.flush()
    for each in tmp_path.iterdir():
        each.unlink()
    train(writer, 10, 10)
    assert not writer.flush()
    with pytest.warns(RuntimeWarning, match="was deleted, moved or replaced"):
        assert train(writer, 1, 20) == 0
    assert train(writer, 10, 20) == 0, "and no second warning, which would be an error here"
    assert not writer.close()
    assert not path.exists()


def test_two_writers_on_one_file(tmp_path):
    path = tmp_path / "run.undertow"
    first = RunWriter(path, {})
    train(first, 10)
    assert first.flush()
    with RunWriter(path, {}, resume=True) as second:
        assert second.path == str(path)
        train(second, 10, 10)
        assert second.flush()
        train(first, 10, 99)
        assert not first.flush()
        with pytest.warns(RuntimeWarning, match=f"process {os.getpid()} on .* goes on with this Run"):
            assert train(first, 10) == 0
        first.close()
        train(second, 10, 20)
    assert len(whole(path, 30)) == 30


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "run.undertow"
    with RunWriter(path, {}) as first:
        train(first, 10)
    before = path.read_bytes()
    with pytest.warns(RuntimeWarning, match="may still be written to .*run-2.undertow"), RunWriter(path, {}) as second:
        train(second, 20)
    assert second.path == str(tmp_path / "run-2.undertow")
    assert path.read_bytes() == before
    assert len(whole(second.path, 20)) == 20
    with pytest.raises(StoreError, match="never overwritten"):
        save_run(open_run(path), second.path)


def test_every_kind_of_trouble_is_told_of_once(tmp_path):
    def trouble():
        writer = RunWriter(tmp_path / "run.undertow", {})
        for _ in range(2):
            writer.scalars(0, 0.0, {"loss": "much"})
            writer.flush()
        Path(writer.path).unlink()
        for step in range(3):
            writer.scalars(step, 0.0, {})
            writer.flush()
        writer.close()

    (tmp_path / "run.undertow").write_bytes(b"mine")
    with pytest.warns(RuntimeWarning) as caught:
        trouble()
    for said, warning in zip(("exists already", "can't be recorded", "was deleted"), caught, strict=True):
        assert said in str(warning.message)


def newer(path):
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")


def another(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE mine (x)")


def with_a_view(path):
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("DROP TABLE events")
        file.execute(
            "CREATE VIEW events AS SELECT 1 AS id, 2 AS step, 3 AS time, 'a' AS kind, 'b' AS message, '{}' AS data"
        )


def with_a_trigger(path):
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM rows; END")


SPOILED = {
    newer: "written by a newer undertow .*upgrade",
    another: "not an undertow Run: it is a database of another program",
    with_a_view: "its tables are not a Run's",
    with_a_trigger: "its tables are not a Run's",
    lambda path: path.write_bytes(b"{}" * 5000): "not an undertow Run: it is no SQLite file",
    lambda path: path.write_bytes(b""): "not an undertow Run",
    lambda path: os.truncate(path, 6000): "damaged",
    lambda path: path.unlink(): "does not exist",
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.items(), ids=map(str, range(len(SPOILED))))
def test_files_that_are_no_runs(tmp_path, spoil, message):
    path = tmp_path / "run.undertow"
    with RunWriter(path, {}) as writer:
        train(writer, 10)
    spoil(path)
    with pytest.raises(StoreError, match=message):
        open_run(path)
    if not path.exists():
        return
    before = path.read_bytes()
    with pytest.warns(RuntimeWarning, match=r"can't be gone on with: .* recorded in .*run-2.undertow"):
        writer = RunWriter(path, {}, resume=True)
    train(writer, 10)
    assert writer.close()
    whole(tmp_path / "run-2.undertow", 10)
    assert path.read_bytes() == before


def test_numbers_that_are_none_cost_their_own_step_only(tmp_path):
    path = tmp_path / "run.undertow"
    writer = RunWriter(path, {})
    graph = writer.graph(SITES, ())
    train(writer, 1)
    writer.taped(1, 0.0, graph, {"x": NUMBERS}, {}, {})
    writer.taped(1, 0.0, graph, {"dead": NUMBERS[1:]}, {}, {})
    writer.scalars(1, 0.0, {"loss": "much"})
    writer.event(1, 0.0, "finding", "that can't be JSON", {"x": object()})
    writer.event(2**70, 0.0, "finding", "later than ever")
    writer.event(1, 0.0, "finding", "half a sign: \ud83d")
    writer.later(lambda: 1 / 0)
    train(writer, 9, 1)
    with pytest.warns(RuntimeWarning, match="taped of step 1 can't be recorded: ValueError: no column is named 'x'"):
        writer.close()
    assert [event.message for event in whole(path, 10).events] == ["training began", "half a sign: ?"]


def test_warnings_that_are_errors_stop_nobody(tmp_path, caplog):
    path = tmp_path / "run.undertow"
    path.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RunWriter(path / "x" / "run.undertow", {}).close()
        RunWriter(path, {}).close()
    assert "run.undertow" in caplog.text


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_leaves_the_file_alone(tmp_path):
    path = tmp_path / "run.undertow"
    with RunWriter(path, {}) as writer:
        train(writer, 5)
        child = os.fork()
        if not child:
            os._exit(train(writer, 5, 5) or writer.flush() or writer.close())
        assert os.waitpid(child, 0)[1] == 0
        train(writer, 5, 5)
    assert len(whole(path, 10)) == 10


def test_what_finds_no_room_is_counted_in_the_run(tmp_path):
    path = tmp_path / "run.undertow"
    with RunWriter(path, {}, queue_bytes=20_000) as writer:
        held = threading.Event()
        assert writer.later(held.wait)
        taken = [writer.scalars(step, 0.0, {"loss": 1.0}) for step in range(500)]
        assert writer.event(500, 0.0, "finding", "there is room for this"), "events go before numbers"
        held.set()
        assert writer.flush()
        assert writer.scalars(500, 0.0, {})
    run, lost = open_run(path), taken.count(False)
    assert 0 < lost < 500
    assert run.scalars["step"].tolist() == [*np.flatnonzero(taken), 500]
    (thinned,) = (event for event in run.events if event.kind == "thinned")
    assert (thinned.data["scalars"], thinned.data["first"], thinned.data["last"]) == (lost, taken.index(False), 499)


def test_values_that_come_later_are_in_their_place(tmp_path):
    with RunWriter(tmp_path / "run.undertow", {}) as writer:
        graph = writer.graph(growing.SITES, growing.EDGES)
        for step in range(50):
            if step % 2:
                writer.later(lambda step=step: writer.taped(step, 0.0, graph, growing.row(step), {}, {}))
            else:
                writer.taped(step, 0.0, graph, growing.row(step), {}, {})
    assert open_run(writer.path).steps["step"].tolist() == list(range(50))


def test_a_writer_that_nobody_closes_is_closed_at_exit(tmp_path):
    code = (
        "import sys; from undertow.watching import RunWriter; RunWriter(sys.argv[1], {}).scalars(0, 0.0, {'loss': 2.5})"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "run.undertow"], check=True)
    assert open_run(tmp_path / "run.undertow").scalars["loss"].tolist() == [2.5]
    assert [path.name for path in tmp_path.iterdir()] == ["run.undertow"]


def test_what_is_logged_of_a_step_joins_what_was_noted_of_it(tmp_path):
    with RunWriter(tmp_path / "run.undertow", {}) as writer:
        for step in range(2000):
            writer.scalars(step, step / 10, {"grad_norm": step, "loss": -1.0})
            writer.later(lambda step=step: writer.scalars(step, step / 10 + 0.01, {"loss": step}), step=step)
    run = open_run(writer.path)
    assert run.scalars["step"].tolist() == run.scalars["loss"].tolist() == list(range(2000))
    assert run.scalars["time"].tolist() == [step / 10 for step in range(2000)]


def test_a_disk_that_hangs_keeps_nobody_waiting(tmp_path):
    writer, hangs = RunWriter(tmp_path / "run.undertow", {}), threading.Event()
    writer.later(hangs.wait)
    growing.write(writer, range(10))
    assert not writer.flush(timeout=0.1)
    with pytest.warns(RuntimeWarning, match="is still being written after 0.1 seconds"):
        assert not writer.close(timeout=0.1)
    hangs.set()
    writer._thread.join()
    assert growing.numbers_of(open_run(writer.path)) == growing.expected(range(10))

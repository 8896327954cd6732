import random

import pytest

from killing import kill, start, whole_steps


@pytest.mark.parametrize("journal", ["wal", "rollback"])
def test_a_killed_writer_leaves_whole_steps_and_its_run_goes_on(tmp_path, journal):
    path, moments = tmp_path / "run.undertow", random.Random(journal)
    there = 0
    for _ in range(4):
        process = start(path, journal)
        began = int(process.stdout.readline().split()[0])
        assert began == there, "what was there is not what was gone on with"
        flushed = int(process.stdout.readline())
        kill(process, moments.uniform(0, 0.3), begun=False)
        there, _ = whole_steps(path)
        assert there >= flushed

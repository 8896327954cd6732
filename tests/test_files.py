"""Files that appear whole or not at all, also where somebody has prepared the folder."""

import os
import subprocess
import sys

import pytest

from undertow.files import fresh_part, write_whole


def test_a_planted_link_is_not_followed(tmp_path):
    secret, out = tmp_path / "secret", tmp_path / "out.json"
    secret.write_bytes(b"mine")
    (tmp_path / f".out.json.{os.getpid()}.part").symlink_to(secret)
    out.symlink_to(secret)
    write_whole(out, b"new")
    assert secret.read_bytes() == b"mine"
    assert not out.is_symlink()
    assert out.read_bytes() == b"new"


def test_a_name_that_is_taken_is_not_written_to(tmp_path, monkeypatch):
    taken = tmp_path / ".taken.part"
    taken.write_bytes(b"mine")
    monkeypatch.setattr("undertow.files.fresh_part", lambda _: taken)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "out", b"new")


def test_what_a_killed_process_left_is_removed_and_what_others_write_is_not(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from undertow.files import fresh_part\n"
        "part = fresh_part(Path(sys.argv[1])); part.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "run.undertow"
    subprocess.run([sys.executable, "-c", code, path], check=False)
    (left,) = tmp_path.iterdir()
    ours, other = fresh_part(tmp_path / "another.undertow"), tmp_path / ".other.1.part"
    assert not left.exists()  # though another file is written
    ours.write_bytes(b"half")
    other.write_bytes(b"of another program")
    write_whole(path, b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([ours, other, path])

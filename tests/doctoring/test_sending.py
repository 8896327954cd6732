"""A user's functions reach another process, also those of a file that it can't import by name."""

import importlib.util
import subprocess
import sys

from undertow.doctoring.sending import sendable

FILE = """
OFFSET = 40

def added(x):
    return helped(x) + OFFSET

def helped(x):
    return x + 1
"""


def test_a_file_that_was_loaded_by_hand_is_sent_with_its_code(tmp_path, monkeypatch):
    file = tmp_path / "somewhere.py"
    file.write_text(FILE)
    spec = importlib.util.spec_from_file_location("no_such_name_elsewhere", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "no_such_name_elsewhere", module)
    spec.loader.exec_module(module)
    sent = tmp_path / "sent"
    sent.write_bytes(sendable(lambda: module.added(1)))
    read = "import pickle, sys; sys.stdout.write(str(pickle.load(open(sys.argv[1], 'rb'))()))"
    told = subprocess.run([sys.executable, "-c", read, sent], capture_output=True, text=True, check=True)
    assert told.stdout == "42"


def test_what_can_be_imported_is_sent_by_name():
    assert len(sendable(subprocess.run)) < 100

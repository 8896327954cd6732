"""A command's exit code counts only if the command came to its end: each case in a process without torch."""

import signal
import subprocess
import sys

import pytest

from undertow.supervising import can_supervise

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes can't be forked there")

SCRIPT = """
import ctypes, os, signal, sys, time
from undertow.supervising import can_supervise, supervised

def slow():
    print("begun", flush=True)
    time.sleep(60)

def forked():
    if not os.fork():
        time.sleep(2)
    sys.exit(0)

assert can_supervise()
print(*supervised(lambda: {})), sys.stdout.flush()
"""


def outcome(does):
    script = SCRIPT.replace("{}", does)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    return ran.stdout.split()


@pytest.mark.parametrize(
    ("does", "told", "code", "killed"),
    [
        ("None", "0", "0", 0),
        ("sys.exit()", "0", "0", 0),
        ("sys.exit(1)", "1", "1", 0),
        ("sys.exit('no')", "1", "1", 0),
        ("os._exit(0)", "None", "0", 0),
        ("os._exit(7)", "None", "7", 0),
        ("ctypes.CDLL(None).exit(0)", "None", "0", 0),
        ("ctypes.CDLL(None)._exit(0)", "None", "0", 0),
        ("os.kill(os.getpid(), 9)", "None", "0", signal.SIGKILL),
        ("os.abort()", "None", "0", signal.SIGABRT),
    ],
)
def test_only_a_command_that_ends_tells_its_code(does, told, code, killed):
    assert outcome(does) == [told, code, str(int(killed))]


def test_an_error_is_no_success():
    assert outcome("1 / 0")[:2] == ["None", "1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_end_the_command_too(number):
    script = SCRIPT.replace("{}", "slow()")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(number)
        said = process.communicate(timeout=30)[0]  # the pipe is closed when nobody holds it any more
    if number == signal.SIGTERM:
        assert said.split() == [b"None", b"0", str(int(number)).encode()]


def test_what_a_command_leaves_behind_does_not_keep_anybody_waiting():
    script = SCRIPT.replace("{}", "forked()")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().split() == ["0", "0", "0"]
        process.wait(timeout=30)
        process.stdout.close()


def test_beside_torch_nothing_is_forked():
    assert not can_supervise()

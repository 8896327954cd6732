"""The command as a user starts it."""

import subprocess
import sys

HIDDEN = """
import sys
sys.modules[sys.argv.pop(1)] = None
sys.argv[0] = "undertow"
from undertow.cli import main
main()
"""


def started(*arguments, hiding=None):
    """The command as a user runs it, optionally where a package isn't installed."""
    start = ["-m", "undertow"] if hiding is None else ["-c", HIDDEN, hiding]
    return subprocess.run([sys.executable, *start, *map(str, arguments)], capture_output=True, text=True, timeout=60)

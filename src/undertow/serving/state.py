"""Tell whether a Run still grows, as far as its files show."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from undertow.serving.folder import files_of

GROWING_FOR = 10.0
"""Seconds after which a Run that got nothing new is no longer called live."""


def state_of(written: float, header: Mapping[str, Any], reached: float = 0.0) -> dict[str, str]:
    """Return ``kind`` (growing, quiet, ended or lost) and a ``message`` about it.

    Args:
        written: when it was last written to, 0 if it is gone; see `last_written`.
        header: its header; ``ended`` is the time of the Run at which training ended.
        reached: the time of its last step: a Run that went on after its end has not ended.

    Example:
        >>> state_of(last_written(Path("nowhere.undertow")), {})
        {'kind': 'lost', 'message': 'its file is gone'}
    """
    if not written:
        return {"kind": "lost", "message": "its file is gone"}
    ended = header.get("ended")
    if isinstance(ended, int | float) and ended >= reached:
        return {"kind": "ended", "message": "ended"}
    age = time.time() - written
    if age < GROWING_FOR:
        return {"kind": "growing", "message": "live"}
    return {"kind": "quiet", "message": f"last written {_ago(age)} ago"}


def last_written(path: Path) -> float:
    """Return when a Run was last written to, in seconds since 1970; 0 if it is gone."""
    if not path.exists():
        return 0.0
    times = []
    for each in files_of(path):
        try:
            times.append(each.stat().st_mtime)
        except OSError:  # it isn't there, or not any more
            continue
    return max(times, default=0.0)


def _ago(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            many = int(seconds // size)
            return f"{many} {name}{'s' if many > 1 else ''}"
    return f"{int(seconds // 10) * 10} seconds"

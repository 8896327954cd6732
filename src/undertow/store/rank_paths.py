"""Paths of the files of a Run."""

import glob
import re
import sys
from pathlib import Path


def rank_path(path: Path, rank: int) -> Path:
    """Return where a rank writes, beside rank 0.

    Example:
        >>> rank_path(Path("runs/first.undertow"), 3).as_posix()
        'runs/first.rank3.undertow'
    """
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}") if rank else path


def other_ranks(path: Path, world: int = sys.maxsize) -> list[Path]:
    """Find the files of ranks 1 to before ``world`` that are there, in their order.

    Example:
        >>> other_ranks(Path("runs/nowhere.undertow"), 8)
        []
    """
    beside = path.parent.glob(f"{glob.escape(path.stem)}.rank*{glob.escape(path.suffix)}")
    named = ((re.fullmatch(r"\.rank([1-9][0-9]{0,8})", each.stem.removeprefix(path.stem)), each) for each in beside)
    ranks = sorted((int(match[1]), each) for match, each in named if match)
    return [each for rank, each in ranks if rank < world]

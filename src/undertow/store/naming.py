"""Where the files of a Run are."""

from pathlib import Path


def rank_path(path: Path, rank: int) -> Path:
    """Where a rank writes, beside rank 0.

    Example:
        >>> rank_path(Path("runs/first.undertow"), 3).as_posix()
        'runs/first.rank3.undertow'
    """
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}") if rank else path

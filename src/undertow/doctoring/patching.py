"""Remedies written into the user's own file: only the lines that change, comments and spacing as they are (libcst).

What a `Training` is called with is edited: a number where there is one, a keyword, or what makes model and optimizer is
wrapped by a function that does what the remedy's snippet says.
"""

import difflib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from undertow.extras import needed
from undertow.files import write_whole
from undertow.remedies import Level, Remedy


@dataclass
class Patch:
    """A user's file with remedies in it.

    Attributes:
        file: the user's.
        before, after: its text.
        written: remedies that are in it.
        left: those that only a person can write: they need lines that aren't in a `Training`.
    """

    file: Path
    before: str
    after: str
    written: list[Remedy] = field(default_factory=list)
    left: list[Remedy] = field(default_factory=list)

    @property
    def diff(self) -> str:
        """The change as a unified diff; empty if there is none."""
        before, after = (text.splitlines(keepends=True) for text in (self.before, self.after))
        return "".join(difflib.unified_diff(before, after, str(self.file), str(self.file)))

    def write(self, unsafe: bool = False, force: bool = False) -> None:
        """Write the file.

        Args:
            unsafe: also remedies of levels C and D.
            force: also where git doesn't have the file as it is.

        Raises:
            ValueError: a remedy changes the architecture or what is learned and ``unsafe`` isn't given, or the file has
                changes that git doesn't have and ``force`` isn't given.
        """
        bold = [each.code for each in self.written if each.level in (Level.C, Level.D)]
        if bold and not unsafe:
            raise ValueError(f"{', '.join(bold)} change the architecture or what is learned: --unsafe writes them, too")
        if not force and not _committed(self.file):
            raise ValueError(f"{self.file} has changes that git doesn't have: commit them first, or give --force")
        write_whole(self.file, self.after.encode())


def _committed(file: Path) -> bool:
    git = shutil.which("git")
    if git is None:
        return False
    asked = [git, "-C", str(file.resolve().parent), "status", "--porcelain", "--ignored", "--", file.name]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603  # a file's name
    return told.returncode == 0 and not told.stdout.strip()


def patched(file: Path, function: str, remedies: Sequence[Remedy]) -> Patch:
    """Return a user's file with remedies written into one of its functions.

    Args:
        file: the user's.
        function: that returns the `Training`.
        remedies: as a treatment has them, their snippets written for the model.

    Raises:
        ModuleNotFoundError: libcst isn't installed.
        ValueError: the function holds no call of Training.
    """
    needed("libcst", "doctor", "a patch of your file")
    from undertow.doctoring.edits import edited

    before = file.read_text(encoding="utf-8")
    after, written = edited(before, function, remedies)
    if after is None:
        raise ValueError(f"{function} of {file} holds no call of Training, so there is no place for a patch")
    return Patch(file, before, after, written, [each for each in remedies if each not in written])

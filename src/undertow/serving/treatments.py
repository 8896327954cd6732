"""Serve what the doctor writes while it goes: a treatment's JSON in the folder, as a page that asks for itself anew."""

import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from undertow.render.treatment_page import article
from undertow.serving.folder import Folder
from undertow.store import StoreError

SUFFIX = ".treatment.json"
"""Of a treatment's file, as ``undertow doctor --live`` writes it."""

AGAIN_EVERY = 4
"""Seconds after which the page of a treatment that is under way asks for itself anew."""


def treatments(folder: Folder) -> list[str]:
    """Return the names of the treatments in a folder, those written last first.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, "first.treatment.json").write_text("{}")
        ...     treatments(Folder(Path(root)))
        ['first.treatment.json']
    """
    found: dict[str, float] = {}
    with os.scandir(folder.root) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(about.st_mode):
                    found[entry.name] = about.st_mtime
    return sorted(found, key=lambda name: (-found[name], name))


def page_of(folder: Folder, name: str) -> tuple[str, dict[str, str]]:
    """Return a treatment's page, and headers to send with it.

    Raises:
        KeyError: there is none of that name.
        StoreError: the file is none that the doctor wrote.
    """
    if name not in treatments(folder):
        raise KeyError(name)
    try:
        told: Mapping[str, Any] = json.loads((folder.root / name).read_text(encoding="utf-8"))
        made = article(told).html()
    except Exception as error:
        raise StoreError(f"{name} can't be shown as a treatment ({type(error).__name__}: {error})") from error
    return made, {"Refresh": str(AGAIN_EVERY)} if told.get("running") else {}

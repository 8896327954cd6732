"""docs/public-api.md lists the public surface, and nothing on it disappears unseen."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "public_api.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("public_api", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_package_has(script):
    written = script.PAGE.read_text(encoding="utf-8").splitlines()
    made = script.page().splitlines()
    gone, new = set(written) - set(made), set(made) - set(written)
    assert written == made, f"`make docs` writes it; gone: {sorted(gone)}; new: {sorted(new)}"


def test_every_name_on_the_page_can_be_imported(script):
    parts = re.split(r"^## (undertow\S*)$", script.PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    names = dict(zip(parts[::2], parts[1::2], strict=True))
    assert list(names) == list(script.MODULES)
    for module, text in names.items():
        for name in re.findall(r"^- `(\w+)", text.partition("## Commands")[0], flags=re.MULTILINE):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_the_page_has_the_names_that_the_readme_uses(script):
    """Each name that README imports from undertow, or takes from it, is public."""
    readme = (SCRIPT.parents[1] / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\bundertow\.(\w+)\(", readme))
    assert len(used) > 3
    assert used <= set(script.public_names(importlib.import_module("undertow")))

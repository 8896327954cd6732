"""A folder of runs and a report within another one, which has secrets beside it."""

import shutil

import pytest

from undertow.agent_tools import Tools


@pytest.fixture
def folder(tmp_path, runs, vanishing):
    """A folder of runs and a report within another one, which has secrets beside it."""
    inside = tmp_path / "inside"
    shutil.copytree(runs, inside)
    vanishing.save(inside / "report.json")
    (inside / "data.json").write_text("{}")
    (inside / "net.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    (tmp_path / "secret.json").write_text((inside / "report.json").read_text())
    shutil.copy(inside / "first.undertow", tmp_path / "secret.undertow")
    return inside


@pytest.fixture
def tools(folder):
    return Tools(folder)

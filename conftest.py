"""What is collected: integrations with other packages only where they are asked for, as those packages are big."""

import os
import warnings
from collections.abc import Generator
from pathlib import Path

import pytest

INTEGRATIONS = (Path("tests/integrations"), Path("src/undertow/integrations"))

os.environ.setdefault("KERAS_BACKEND", "torch")  # the leaf's own examples import Keras


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let asserts be rewritten in tests alone: pytest would compile all of undertow anew, as that brings a plugin."""
    rewritten = getattr(pluginmanager.rewrite_hook, "_must_rewrite", set[str]())
    rewritten.discard("undertow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out integrations, unless ``-m integrations`` or an argument names them."""
    inside = collection_path.is_relative_to(config.rootpath) and any(
        collection_path.relative_to(config.rootpath).is_relative_to(folder) for folder in INTEGRATIONS
    )
    marks = str(config.option.markexpr)
    asked = "integrations" in marks and "not integrations" not in marks
    return True if inside and not asked and "integrations" not in " ".join(config.args) else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let other packages warn of each other while they are loaded, too."""
    with warnings.catch_warnings():
        if any(collector.path.is_relative_to(collector.config.rootpath / folder) for folder in INTEGRATIONS):
            warnings.simplefilter("ignore")
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of integrations and their examples; other packages may warn of each other as they like there."""
    folders = tuple(f"{folder.as_posix()}/" for folder in INTEGRATIONS)
    for item in items:
        if item.nodeid.startswith(folders):
            item.add_marker(pytest.mark.integrations)
            item.add_marker(pytest.mark.filterwarnings("ignore", "error:undertow"), append=False)

"""A package that isn't installed is one sentence that says what to install; a broken one is its own error."""

import sys

import pytest

from undertow.extras import needed


def test_a_part_of_a_package_comes_with_it():
    assert needed("os.path", "lab", "a path").join("a", "b")


def test_what_is_missing_says_what_to_install():
    with pytest.raises(ModuleNotFoundError) as raised:
        needed("no_such.part", "lab", "MNIST from the network")
    assert str(raised.value) == (
        'MNIST from the network needs no_such, which is not installed: pip install "undertow[lab]"'
    )
    assert raised.value.name == "no_such"


def test_a_package_that_is_there_but_broken_tells_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_dependency'"):
        needed("broken_one", "lab", "anything")
    sys.modules.pop("broken_one", None)

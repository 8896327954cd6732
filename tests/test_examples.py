"""The scripts in examples/: what each is broken in is found, and nothing when it is mended."""

import ast

import pytest

from scripts import EXAMPLES, faults, printed

BROKEN_IN = {
    "plain_loop": "UT701",
    "cnn": "UT301",
    "lstm": "UT107",
    "transformer": "UT506",
    "gan": "UT501",
    "lora": "UT109",
    "mixed_precision": "UT403",
    "ddp": "UT706",
}
OTHERS = {"lightning_trainer": "UT706", "hf_trainer": "UT401"}
"""Those that need other people's trainers: tests/integrations/test_examples.py."""


@pytest.mark.parametrize("name", BROKEN_IN)
def test_what_a_script_is_broken_in_is_found_first(name):
    assert faults(printed(EXAMPLES / f"{name}.py"))[0] == BROKEN_IN[name]


@pytest.mark.parametrize("name", BROKEN_IN)
def test_nothing_is_found_when_it_is_mended(name):
    assert not faults(printed(EXAMPLES / f"{name}.py", "--mended"))


def test_every_script_says_what_it_is_broken_in_and_is_short():
    scripts = {path.stem: path.read_text("utf-8") for path in EXAMPLES.glob("*.py")}
    assert set(scripts) == {*BROKEN_IN, *OTHERS}
    for name, text in scripts.items():
        said = ast.get_docstring(ast.parse(text))
        assert {**BROKEN_IN, **OTHERS}[name] in said
        assert "--mended" in said
        assert 20 <= len(text.splitlines()) <= 62

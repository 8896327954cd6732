"""What keeps a renderer's contract passes, and every way of breaking it is named."""

from itertools import count

import pytest

from undertow.printable import printable
from undertow.report import WRITERS
from undertow.testing import check_renderer

CALLS = count()


@pytest.mark.parametrize("suffix", [".txt", ".json", ".svg"])
def test_our_own_renderers_keep_their_contract(suffix):
    check_renderer(lambda diagnosis: WRITERS[suffix](diagnosis).decode())


@pytest.mark.parametrize(
    ("render", "said"),
    [
        (lambda _: None, "makes a NoneType"),
        (lambda _: b"", "makes nothing"),
        (lambda _: int("no number"), "the renderer refuses all that there is, as of an empty run: invalid literal"),
        (lambda _: str(next(CALLS)), "something else the second time"),
        (lambda diagnosis: f"of {diagnosis.run.header['model']}", "hands on control characters"),
        (lambda diagnosis: diagnosis.run.header.update(seen=True) or "seen", "the renderer changes an empty run"),
    ],
)
def test_what_a_renderer_does_wrong_is_named(render, said):
    with pytest.raises(AssertionError, match=said):
        check_renderer(render)
    assert printable("fc") == "fc"

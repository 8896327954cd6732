import re
from xml.etree import ElementTree

import pytest

from undertow.files import write_whole
from undertow.render.figures import GUTTER, beside, save_svg, size, to_svg, vega_bundle


def test_a_figure_is_saved_as_svg_and_as_png_of_twice_its_pixels(curves, tmp_path):
    svg, png = save_svg(to_svg(curves(), width=500, columns=2), tmp_path / "deep" / "curves")
    root = ElementTree.fromstring(svg.read_text())  # noqa: S314  our own file
    header = png.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    measured = [int.from_bytes(header[16:20]), int.from_bytes(header[20:24])]
    assert measured == [2 * float(root.attrib[side]) for side in ("width", "height")]
    assert {path.name for path in svg.parent.iterdir()} == {"curves.svg", "curves.png"}


def test_panels_keep_their_sizes_and_get_ids_of_their_own():
    panel = '<svg width="100" height="50"><clipPath id="clip0"/><g clip-path="url(#clip0)"/></svg>'
    whole = beside([panel] * 3, columns=2)
    assert size(whole) == (200 + GUTTER, 100 + GUTTER)
    ids = re.findall(r'id="([^"]+)"', whole)
    assert len(set(ids)) == 3
    assert re.findall(r"url\(#([^)]+)\)", whole) == ids


def test_a_failed_write_leaves_the_old_file_and_no_half(tmp_path):
    (tmp_path / "page.html").mkdir()
    (tmp_path / "page.html" / "kept").touch()
    with pytest.raises(OSError, match=re.escape("page.html")):
        write_whole(tmp_path / "page.html", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html" / "kept").exists()


def test_the_bundle_can_stand_in_a_script_element_and_loads_nothing():
    assert "</script" not in vega_bundle().lower()
    assert "\r" not in vega_bundle()
    assert not re.search(r"""\bimport\s*\(|\bimport\s[^;]*from\s*["']http""", vega_bundle())

"""The chapter's figures as files."""


def test_every_figure_is_there_as_png_and_svg(folder):
    svg = {p.stem for p in (folder / "figures").glob("*.svg")}
    png = {p.stem for p in (folder / "figures").glob("*.png")}
    assert svg == png
    assert {"accuracies", "bars", "initial-speeds", "descent-speeds", "reset", "causes"} <= svg
    assert all((folder / "figures" / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for name in png)

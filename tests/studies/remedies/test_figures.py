"""The study's figures as files."""


def test_every_figure_is_there_as_png_and_svg(folder):
    svg, png = ({p.stem for p in (folder / "figures").glob(f"*.{kind}")} for kind in ("svg", "png"))
    assert svg == png
    assert {"reach-map", "accuracy-by-depth", "profiles-tanh", "telling", "main-effects"} <= svg

"""The study's figures as files."""


def test_every_figure_is_there_as_png_and_svg(folder):
    svg, png = ({p.stem for p in (folder / "figures").glob(f"*.{kind}")} for kind in ("svg", "png"))
    assert svg == png == {"reconstructions", "error-curves", "final-errors", "gradients", "scale-curves", "moved"}

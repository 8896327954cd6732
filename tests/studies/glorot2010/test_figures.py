"""The study's figures as files, and what one of them shows."""

from undertow.studies.glorot2010.figures import wrong_corner


def test_the_quadratic_cost_is_flat_where_the_output_is_wrong_and_sure_of_itself(results):
    steep = {name: wrong_corner(results["surface"][name]["gradient"]) for name in ("log-likelihood", "quadratic")}
    assert steep["quadratic"] < 0.02 < 0.2 < steep["log-likelihood"]


def test_every_figure_is_there_as_png_and_svg(folder):
    svg, png = ({p.stem for p in (folder / "figures").glob(f"*.{kind}")} for kind in ("svg", "png"))
    assert svg == png
    assert {"shapes", "sigmoid-means", "saturated", "gradients", "weight-gradients", "test-errors", "surfaces"} <= svg

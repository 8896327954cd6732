"""Render an examination as a picture: the gradient's way back and its causes, under the verdict."""

from undertow.diagnosis import Diagnosis
from undertow.render import figures, gradient_charts
from undertow.render.verdict import headline


def svg(diagnosis: Diagnosis) -> str:
    """Return the picture as SVG.

    Raises:
        ValueError: the gradient passes fewer than two layers, so that there is nothing to draw.
    """
    if diagnosis.gradient_path is None or len(diagnosis.gradient_path.waypoints) < 2:
        raise ValueError("there is no way back to draw: the gradient passes fewer than two layers. Save .html or .txt")
    return gradient_charts.svg(diagnosis, headline(diagnosis))


def png(diagnosis: Diagnosis) -> bytes:
    """Return the picture as PNG. Raises: ValueError as `svg` does."""
    return figures.rasterised(svg(diagnosis))

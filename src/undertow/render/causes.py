"""Rank and colour the causes that change the gradient, alike in every chart, table and script."""

from collections.abc import Iterable

from undertow.formatting import signed
from undertow.render.palette import CATEGORY_COLOURS
from undertow.render.segments import Segment

MOST_CAUSES = 5
OTHER, UNATTRIBUTED = "other causes", "unattributed"
COLOURS = {
    **dict(zip(("activation", "weights", "normalisation", "join", "attention"), CATEGORY_COLOURS, strict=True)),
    "embedding": "#7a8b00", "concatenation": "#8f4bb8", "pooling": "#00889a", "selection": "#a08a5b",
    "gating": "#b03060", "mixing": "#5b7f3a", "scaling": "#3d5a80", "loss": "#7f4f24", "other": "#77808c",
    OTHER: "#77808c", UNATTRIBUTED: "#c3c9d1",
}  # fmt: skip
"""A cause keeps its colour on every page."""


def causes(found: Iterable[Segment]) -> list[str]:
    """Rank the causes by the most decades that each makes in any segment, then the rest as one, then unattributed.

    Example:
        >>> from undertow.record import BackwardGain
        >>> causes([Segment("fc", (0,), (BackwardGain(0, 1, 0.02, {"weights": 0.2, "activation": 0.1}),))])
        ['activation', 'weights', 'unattributed']
    """
    size: dict[str, float] = {}
    for segment in found:
        for cause, decades in segment.decades.items():
            size[cause] = max(size.get(cause, 0.0), abs(decades))
    size.pop(UNATTRIBUTED, None)
    ranked = [cause for cause in sorted(size, key=lambda cause: -size[cause]) if size[cause] > 0]
    others = [OTHER] if len(ranked) > MOST_CAUSES else []
    return [*ranked[:MOST_CAUSES], *others, UNATTRIBUTED]


def signed_decades(decades: float | None) -> str:
    """Write decades with their sign and two digits.

    Example:
        >>> signed_decades(-0.6901), signed_decades(None)
        ('−0.69', 'no number of')
    """
    return "no number of" if decades is None else signed(decades)

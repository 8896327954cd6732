"""Prediction beside measurement: the log-gain per layer of random networks, as a table.

``python tests/theory_accuracy.py`` prints the table; with the name of a Markdown file it replaces the table there.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from undertow.theory.propagation import Layer, propagate
from undertow.theory.simulation import gradient_norms

POINTS: dict[str, tuple[tuple[float, float], ...]] = {
    "tanh": ((0.6, 0.1), (1.688, 0.038), (4.0, 0.3)),
    "erf": ((0.5, 0.1), (0.785398, 0.0), (3.0, 0.1)),
    "relu": ((1.0, 0.1), (2.0, 0.0), (3.0, 0.1)),
    "gelu": ((1.0, 0.1), (1.98306, 0.17292), (3.0, 0.1)),
    "silu": ((1.0, 0.1), (1.988, 0.55514), (3.0, 0.1)),
    "sigmoid": ((1.0, 1.0), (10.0, 0.5), (103.0, 0.0)),
}
"""(weight_var, bias_var): one point in the ordered phase, one at or near the critical line, one beyond it."""

NETWORKS = 100

BEGIN, END = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"


@dataclass(frozen=True)
class Row:
    """One setting: mean and spread of log10(||δ^l|| / ||δ^(l+1)||), averaged over the layers, predicted and measured.

    Attributes:
        activation: its name.
        weight_var: n_in Var W.
        bias_var: Var b.
        predicted: by mean-field theory, decades a layer.
        measured: mean over networks, decades a layer.
        predicted_spread: standard deviation of log10(||δ^1|| / ||δ^L||) by finite-width theory, decades.
        measured_spread: over networks, decades.
    """

    activation: str
    weight_var: float
    bias_var: float
    predicted: float
    measured: float
    predicted_spread: float
    measured_spread: float

    @property
    def agrees(self) -> bool:
        """Tell whether the two gains differ by at most 5 % or 0.01 decade, whichever is larger."""
        return abs(self.measured - self.predicted) <= _allowed(self.predicted)


def compare(
    activation: str,
    weight_var: float,
    bias_var: float,
    *,
    width: int = 300,
    depth: int = 10,
    networks: int | None = None,
    seed: int = 0,
) -> Row:
    """Predict and measure one setting.

    Args:
        activation: its name.
        weight_var: n_in Var W.
        bias_var: Var b.
        width: units a layer.
        depth: layers; the inputs have mean square 1.
        networks: how many to draw; None: so many that the sampling error is a quarter of what is allowed.
        seed: of the draws.

    Example:
        >>> compare("sigmoid", 1.0, 1.0, width=100, depth=4, networks=5).agrees
        True
    """
    layers = [Layer(activation, weight_var, bias_var, width)] * depth
    expected = propagate(layers)
    if networks is None:
        gain = float(expected.decades[0]) / (depth - 1)
        networks = max(4, int(np.ceil((4 * expected.spread[0] / (depth - 1) / _allowed(gain)) ** 2)))
    totals = np.log10(gradient_norms(layers, networks, seed=seed)[:, 0])
    return Row(
        activation,
        weight_var,
        bias_var,
        float(expected.decades[0]) / (depth - 1),
        float(totals.mean()) / (depth - 1),
        float(expected.spread[0]),
        float(totals.std(ddof=1)),
    )


def _allowed(predicted: float) -> float:
    return max(0.05 * abs(predicted), 0.01)


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown.

    Example:
        >>> print(table([Row("relu", 2.0, 0.0, 0.0, -0.001, 0.05, 0.06)]).splitlines()[-1])
        | relu | 2 | 0 | +0.0000 | -0.0010 | 0.050 | 0.060 |
    """
    head = (
        "| activation | weight_var | bias_var | predicted decades a layer | measured "
        "| predicted spread (decades) | measured |"
    )
    lines = [
        f"| {row.activation} | {row.weight_var:g} | {row.bias_var:g} | {row.predicted:+.4f} | {row.measured:+.4f} "
        f"| {row.predicted_spread:.3f} | {row.measured_spread:.3f} |"
        for row in rows
    ]
    return "\n".join([head, "|---" * 7 + "|", *lines])


def main(arguments: Sequence[str]) -> None:
    """Print the table of all `POINTS`, or put it between the markers of the Markdown file named."""
    settings = [(name, *point) for name, points in POINTS.items() for point in points]
    rows = [compare(*setting, networks=NETWORKS, seed=seed) for seed, setting in enumerate(settings)]
    if not arguments:
        sys.stdout.write(table(rows) + "\n")
        return
    page = Path(arguments[0])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

"""With and without momentum: what is left of the error."""

from typing import Any

import altair as alt
import numpy as np

from undertow.render.charts import bars, curves_with_bands
from undertow.render.page import Equation, Figure, Prose, Section, Table
from undertow.render.rows import number
from undertow.studies.curves import member_curve
from undertow.studies.study import Results
from undertow.studies.sutskever2013.claims import HIGH, final, lowered
from undertow.studies.sutskever2013.protocol import LOWERED, METHODS, PAPER_LOWERING
from undertow.studies.wording import percent


def section(results: Results) -> Section:
    """The nine methods compared."""
    amount = results["amount"]
    return Section(
        "momentum",
        "Nine ways down",
        [
            Prose(
                """
                **Method.** Plain gradient descent (SGD) takes a step against the gradient and forgets it. Momentum keeps a
                velocity, a running sum of steps in which each counts $\\mu$ times less than the next. Classical momentum (M) takes the
                gradient where the weights are, Nesterov's method (N) where the velocity is about to carry them. $\\mu$ starts at ½ and
                rises to a largest value $\\mu_{max}$:
                """
            ),
            Equation(
                r"\mu_t = \min\left(1 - 2^{-1 - \log_2(\lfloor t/k \rfloor + 1)},\ \mu_{max}\right)",
                number="5",
                spoken="mu t is the smaller of one minus two to the minus one minus log two of t over k rounded down plus one, and mu max",
            ),
            Prose(
                f"""
                In the paper $k = 250$ updates, of 750,000. Training here is shorter, and $k$ is a 750th part of it, so that .999 is reached
                before the end. For the last
                {amount["lowered_for"]} updates $\\mu$ is lowered to {LOWERED}. Each method has the best of {amount["rates"]} learning rates, judged, as in the
                paper, by the error on training images.

                **The paper found** that every method with momentum beats SGD, that $\\mu_{{max}}$ well above the usual .9 pays, and that
                Nesterov's method is the safer of the two where $\\mu$ is large.
                """
            ),
            _curves(results),
            _bars(results),
            _table(results),
            Prose(_said(results)),
        ],
    )


def _curves(results: Results) -> Figure:
    panels = []
    for kind, title in (("Nesterov", "Nesterov's method"), ("classical", "classical momentum")):
        rows: list[dict[str, Any]] = []
        for name, method in METHODS.items():
            if method.kind in ("SGD", kind):
                rows += curve(results["methods"][name], f"μ {method.mu:g}" if method.mu else "SGD")
        panels.append(error_curves(rows, title))
    return Figure(
        "error-curves",
        panels,
        "Error through training",
        "Squared error summed over pixels, mean over training images; median of the networks and the range of all. Both axes are "
        "logarithmic. The drop at the right end is where momentum is lowered.",
    )


def curve(found: Results, name: str) -> list[dict[str, Any]]:
    """The squared error of one kind of network through training, as rows for `error_curves`."""
    return member_curve(found["error"], found["updates"], x="update", y="error", method=name)


def error_curves(rows: list[dict[str, Any]], title: str) -> alt.LayerChart:
    """Squared error over updates, a curve for each ``method``."""
    return curves_with_bands(
        rows, x="update", y="error", low="low", high="high", colour="method", log_x=True,
        x_title="updates", y_title="squared error", band_title="all networks", title=title,
    )  # fmt: skip


def _bars(results: Results) -> Figure:
    ours = {name: final(results, name) for name in METHODS}
    paper = results["paper_error"]["MNIST"]
    panels = [
        bars(
            [{"μ": f"{m.mu:g}" if m.mu else "none", "kind": m.kind, "error": errors[n]} for n, m in METHODS.items()],
            x="μ", y="error", colour="kind", x_title="largest momentum", y_title="squared error", title=title,
        )
        for errors, title in ((ours, "Here"), (paper, "The paper, MNIST"))
    ]  # fmt: skip
    return Figure(
        "final-errors",
        panels,
        "What is left at the end",
        "Squared error on training images after the last update: the axes differ, for the paper's networks are larger and were trained far longer.",
    )


def _table(results: Results) -> Table:
    rows: list[list[Any]] = []
    for name, found in ((n, results["methods"][n]) for n in METHODS):
        error = np.asarray(found["error"], float)[:, -1]
        test = np.asarray(found["test_error"], float)
        paper = [results["paper_error"][data][name] for data in ("MNIST", "Curves", "Faces")]
        rows.append(
            [name, f"{error.mean():.2f} ± {error.std(ddof=1):.2f}", float(test.mean()), f"{found['eta']:g}", *paper]
        )
    return Table(
        ["method", "here", "on test images", "their η", "paper: MNIST", "Curves", "Faces"],
        rows,
        caption="Squared error at the end: ours (mean ± standard deviation of the networks) beside the paper's table 1; Curves and Faces are quoted only",
        id="error-table",
        stacked=True,
    )


def _said(results: Results) -> str:
    order = sorted(METHODS, key=lambda name: np.nan_to_num(final(results, name), nan=np.inf))
    pairs = [f"{mu:g}: {number(final(results, f'{mu:g}N'))} and {number(final(results, f'{mu:g}M'))}" for mu in HIGH]
    return f"""
        **Here**, best to worst: {", ".join(order)}. By Nesterov's and by classical momentum at the same $\\mu_{{max}}$: {"; ".join(pairs)}.
        How large a $\\mu_{{max}}$ pays depends on how long one trains: momentum of .999 remembers a thousand updates, of which
        the paper's training has {750:,} times as many and this one {max(results["methods"]["SGD"]["updates"]) / 1000:.1g} times.
        """


def lowering(results: Results) -> Section:
    """What lowering momentum at the end does."""
    rows: list[list[Any]] = []
    for kind, letter, mu in ((*each, mu) for each in (("Nesterov", "N"), ("classical", "M")) for mu in HIGH):
        before, after, high = lowered(results, f"{mu:g}{letter}")
        rows.append([f"{kind}, {mu:g}", before, after, high])
    quoted = "; ".join(f"{a:g} to {b:g} on {data}" for data, (a, b) in PAPER_LOWERING.items())
    return Section(
        "lowering",
        "Landing",
        [
            Prose(
                f"""
                A velocity that remembers a thousand steps keeps the weights moving across valleys as well as along them. **The paper
                found** that lowering $\\mu$ to {LOWERED} for the last thousand of its updates brings the error down at once: from {quoted}. It
                warns that to lower it earlier would cost more than it gains, for the low error is not the same as progress.
                """
            ),
            Table(
                ["method", "before", "after, lowered", "after, left high"],
                rows,
                caption=f"Squared error {results['amount']['lowered_for']} updates before the end, and at the end with momentum lowered or not",
                id="lowering-table",
            ),
            Prose(_landed(rows)),
        ],
    )


def _landed(rows: list[list[Any]]) -> str:
    fell = sum(after < before for _, before, after, _ in rows)
    helped = sum(after < high for _, _, after, high in rows)
    share = [1 - after / high for _, _, after, high in rows]
    return f"""
        **Here** the error at the end is below that before in {fell} of {len(rows)} cases, but it would have fallen some of the way in any case:
        what lowering does in itself is the third column against the fourth, the same updates from the same start. Lowered is better in {helped} of
        {len(rows)}, by {percent(min(share))} to {percent(max(share))} of the error.
        """

"""Which networks classify best, beside the paper's table."""

from typing import Any

from undertow.render.charts import curves_with_bands
from undertow.render.dot_charts import dots_with_interval
from undertow.render.page import Figure, Prose, Section, Table
from undertow.studies.curves import member_curve
from undertow.studies.glorot2010.claims import gained, sources, test_error, trained
from undertow.studies.glorot2010.protocol import BATCH_SIZE, COMPARED, CONFIGURATIONS, PAPER_ERROR, SHAPES
from undertow.studies.study import Results
from undertow.studies.wording import signed


def section(results: Results) -> Section:
    """Test errors of the five configurations and how they got there."""
    amount, digits = results["amount"], next(iter(sources(results).values()))
    return Section(
        "errors",
        "Five networks compared",
        [
            Prose(
                f"""
                **Method.** Each network is trained by plain stochastic gradient descent, {BATCH_SIZE} images at a time, without weight
                decay: on {amount["images"]:,} images of {digits}, its training set over and over, and on {amount["shapes"]:,} shapes,
                no two the same. The learning rate is the best on validation images of three or four tried on a short pilot;
                the paper chose its own in the same manner, and trained for far longer.
                """
            ),
            _dots(results),
            _table(results),
            Prose(_said(results)),
            _curves(results),
        ],
    )


def _dots(results: Results) -> Figure:
    panels = []
    for source, called in sources(results).items():
        rows = [{"network": n, "error": float(e)} for n in CONFIGURATIONS for e in test_error(results, source, n)]
        paper = PAPER_ERROR["Shapeset"] if source == SHAPES else PAPER_ERROR["MNIST"] if source == "mnist" else {}
        panels.append(
            dots_with_interval(
                rows, value="error", group="network", value_title="test images wrong, %", group_title="network",
                reference=[{"network": n, "error": e} for n, e in paper.items()], reference_title="the paper, 5 × 1,000",
                title=called, log_x=True, row_height=44,
            )
        )  # fmt: skip
    return Figure(
        "test-errors",
        panels,
        "Test errors",
        "Every dot is a network after training; the bar spans 95 % of them. The paper's networks are ten times as wide and were "
        "trained for longer, so its errors are smaller; what is compared is the order.",
    )


def _table(results: Results) -> Table:
    rows: list[list[Any]] = []
    for name in CONFIGURATIONS:
        ours = [
            f"{e.mean():.2f} ± {e.std(ddof=1):.2f}" for e in (test_error(results, s, name) for s in sources(results))
        ]
        paper = [PAPER_ERROR[data].get(name) for data in ("MNIST", "Shapeset", "CIFAR-10", "ImageNet, small")]
        rows.append([name, *ours, *paper])
    called = list(sources(results).values())
    return Table(
        [
            "network",
            *(f"here: {c.removeprefix('our ')}" for c in called),
            "paper: MNIST",
            "Shapeset",
            "CIFAR-10",
            "ImageNet",
        ],
        rows,
        caption="Test error in per cent: ours (mean ± standard deviation) beside the paper's table 1; CIFAR-10 and ImageNet are quoted only",
        id="test-error-table",
        stacked=True,
    )


def _said(results: Results) -> str:
    said = []
    for source, called in sources(results).items():
        order = sorted(COMPARED, key=lambda n: test_error(results, source, n).mean())
        step = gained(results, source, "tanh")
        rates = ", ".join(f"{results['training'][source][name]['eta']:g}" for name in order)
        said.append(
            f"On {called}, best to worst: {', '.join(order)} (their learning rates: {rates}). The normalised start changes "
            f"tanh's error by {signed(-step.mean)} points ({step.said})."
        )
    return f"""
        **The paper found** tanh best from the normalised start (or level with softsign), softsign good from either, tanh
        from the standard start behind them, the sigmoid last, on Shapeset as bad as a guess. **Here:** {" ".join(said)}
        """


def _curves(results: Results) -> Figure:
    panels = []
    for source, called in sources(results).items():
        rows: list[dict[str, Any]] = []
        for name in COMPARED:
            wrong, examples = (
                100 * trained(results, source, name, "error"),
                results["training"][source][name]["examples"],
            )
            rows += member_curve(wrong, examples, x="examples", y="wrong", network=name)
        panels.append(
            curves_with_bands(
                rows, x="examples", y="wrong", low="low", high="high", colour="network", log_x=True,
                x_title="images trained on", y_title="validation images wrong, %", band_title="all networks", title=called,
            )
        )  # fmt: skip
    return Figure(
        "error-curves",
        panels,
        "Errors through training",
        "Median over the networks and the range of all; both axes are logarithmic.",
    )

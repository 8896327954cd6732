"""What each factor does on average."""

from undertow.render.charts import bars
from undertow.render.page import Figure, Prose, Section
from undertow.studies.remedies.design import WRITTEN
from undertow.studies.remedies.table import AXES, CALLED, main_effect
from undertow.studies.study import Results


def section(results: Results) -> Section:
    """Mean accuracies at the levels of each factor."""
    panels = [
        bars(
            [{"level": WRITTEN.get(level, level), "right": 100 * mean} for level, mean in main_effect(results, factor).items()],
            x="level", y="right", x_title=CALLED[factor], y_title="right, %, on average", y_domain=(0, 100), height=150,
        )
        for factor in AXES
    ]  # fmt: skip
    ranges = {f: max(e.values()) - min(e.values()) for f in AXES for e in [main_effect(results, f)]}
    order = ", ".join(f"{CALLED[f]} ({100 * ranges[f]:.0f} points)" for f in sorted(ranges, key=lambda f: -ranges[f]))
    return Section(
        "factors",
        "Factor by factor",
        [
            Prose(
                f"""
                Since everything is crossed with everything, the mean over all combinations with one level of a factor can be compared with that
                of another level: nothing else differs between them. By the range of these means: {order}.
                """
            ),
            Figure(
                "main-effects",
                panels,
                "What each choice does on average",
                "Validation images right after the same few updates, mean over all combinations, each with its best learning rate.",
            ),
        ],
    )

"""Curves of every layer through training, one panel for each data set and network."""

from typing import Any

import altair as alt

from undertow.render.charts import curves_with_bands
from undertow.studies.curves import layer_curves
from undertow.studies.glorot2010.claims import sources, trained
from undertow.studies.study import Results


def layer_panels(
    results: Results, networks: dict[str, str], what: str, y_title: str, **given: Any
) -> list[alt.LayerChart]:
    """A panel for each source of images and each of the networks (name -> what the panel calls it)."""
    panels = []
    for source, called in sources(results).items():
        for name, said in networks.items():
            examples = results["training"][source][name]["examples"]
            rows = layer_curves(trained(results, source, name, what), examples, x="examples", y=what)
            panels.append(
                curves_with_bands(
                    rows,
                    x="examples",
                    y=what,
                    low="low",
                    high="high",
                    x_title="images trained on",
                    y_title=y_title,
                    band_title="all networks",
                    log_x=True,
                    title=f"{said}, {called}",
                    height=190,
                    **given,
                )
            )
    return panels

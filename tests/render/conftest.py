import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from undertow.render.charts import bars, curves_with_bands, heatmap, histogram
from undertow.render.dot_charts import dots_with_interval
from undertow.render.page import Article, Callout, ClaimVerdict, Equation, Figure, Prose, Section, Table
from undertow.render.pictures import pictures

HOSTILE = "</script><script>document.title = 'broken'</script>"


def speeds(layers: int, epochs: int = 60) -> list[dict[str, float]]:
    middle = {
        (e, k): 0.3 * 4.9 ** (k - layers) * math.exp(-e / 40) for e in range(epochs) for k in range(1, layers + 1)
    }
    return [{"epoch": e, "layer": k, "speed": s, "low": s / 1.4, "high": s * 1.4} for (e, k), s in middle.items()]


def panels():
    given = {"x": "epoch", "y": "speed", "low": "low", "high": "high", "x_title": "epoch", "y_title": "speed ‖∂C/∂b‖"}
    return [curves_with_bands(speeds(n), title=f"{n} hidden layers", reference=speeds(1), **given) for n in (2, 4)]


def members():
    draws = np.random.default_rng(0).lognormal(size=(4, 50), sigma=0.2)
    rows = [{"layer": k + 1, "speed": s * 5.0 ** (k - 4)} for k in range(4) for s in draws[k]]
    book = [{"layer": k + 1, "speed": 5.0 ** (k - 4)} for k in range(4)]
    titles = {"value_title": "speed at the start", "group_title": "layer"}
    return dots_with_interval(rows, value="speed", group="layer", log_x=True, reference=book, **titles)


def neurons():
    rows = [{"neuron": j, "layer": k, "gradient": (-1) ** j * 0.01 * k} for k in (1, 2) for j in range(1, 7)]
    return bars(rows, x="neuron", y="gradient", colour="layer", x_title="neuron", y_title="∂C/∂b")


def article() -> Article:
    rng = np.random.default_rng(1)
    split = [{"layer": k, "cause": c, "decades": -k / 3} for k in (1, 2, 3) for c in ("activation", "weights", HOSTILE)]
    factors = [{"layer": 1 + i % 3, "factor": f} for i, f in enumerate(rng.uniform(size=300))]
    weights = rng.normal(size=(6, 8, 8))
    given = {"x_title": "cause", "y_title": "layer", "value_title": "decades", "centre": 0.0, "labels": True}
    fast = Section(
        "speed",
        "How fast each layer learns",
        [
            Prose("The speed $\\|\\delta^l\\|$ of [](#curves) is a product, [](#eq-121); see [](#claims)."),
            Equation(
                r"\frac{\partial C}{\partial b_1} = \sigma'(z_1)\, w_2 \sigma'(z_2)", number="121", spoken="a product"
            ),
            Figure("curves", panels(), "Earlier layers learn slower", "Median and band.", table=speeds(1, 5)),
            Section("start", "At the start", [Figure("members", members(), "The book is one of many")]),
            Callout("Beware", "An *average* hides $x<y$."),
        ],
    )
    more = Section(
        "more",
        HOSTILE,
        [
            Figure("neurons", neurons(), HOSTILE, HOSTILE),
            Figure("split", heatmap(split, x="cause", y="layer", value="decades", **given), "By cause"),
            Figure("factors", histogram(factors, value="factor", colour="layer", x_title="factor"), "Factors"),
            Figure("weights", [pictures(weights, title="before"), pictures(2 * weights, title="after")], "Weights"),
            Table(
                ["claim", "measured", "holds?"],
                [
                    ["First", 96.4, ClaimVerdict("yes")],
                    [HOSTILE, 9.75, ClaimVerdict("partly")],
                    ["Third", None, ClaimVerdict("no")],
                ],
                caption="Claims",
                id="claims",
                stacked=True,
            ),
        ],
    )
    return Article(f"Why? {HOSTILE}", "A subtitle", "The *lead*.", [fast, more], {"version": HOSTILE})


@pytest.fixture(scope="session")
def demo() -> Article:
    """Every block and every kind of chart, with text that tries to break out."""
    return article()


@pytest.fixture(scope="session")
def written(demo: Article, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo as files: index.html and figures/."""
    folder = tmp_path_factory.mktemp("site")
    return demo.write(folder / "index.html", folder / "figures")


@pytest.fixture(scope="session")
def curves() -> Callable:
    return panels

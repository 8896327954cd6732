"""Why: the product of factors, one by one."""

from typing import Any

import numpy as np

from undertow.render.charts import bars, curves_with_bands, heatmap
from undertow.render.page import Callout, Equation, Figure, Prose, Section, Table
from undertow.render.rows import number
from undertow.studies.chapter5.chains import CHAINS
from undertow.studies.wording import percent
from undertow.theory import bounds, meanfield

Results = dict[str, Any]

SHOWN_DEPTHS = (2, 4, 8)


def section(results: Results) -> Section:
    """The chain, its factors, and the split of a full network's speeds into causes."""
    return Section(
        "why",
        "Why the gradient vanishes",
        [
            Section("chain", "A chain of single neurons", _chain(results)),
            Section("full", "Full networks, split into causes", _full(results)),
        ],
    )


def _chain(results: Results) -> list[Any]:
    small_weight, small = bounds.probability_below(1.0, "linear"), bounds.probability_below(0.25)
    return [
        Prose(
            """
            The simplest deep network is a chain: one neuron in each layer, $a_j = \\sigma(w_j a_{j-1} + b_j)$. How
            does the cost change with the first bias? A small change passes from neuron to neuron, multiplied at each
            by what lies on its way:
            """
        ),
        Equation(
            r"\frac{\partial C}{\partial b_1} = \sigma'(z_1)\, w_2\, \sigma'(z_2)\, w_3\, \sigma'(z_3)\, w_4\, \sigma'(z_4)\, "
            r"\frac{\partial C}{\partial a_4}",
            number="121",
        ),
        Prose("A bias further back has fewer factors:"),
        Equation(
            r"\frac{\partial C}{\partial b_3} = \sigma'(z_3)\, w_4\, \sigma'(z_4)\, \frac{\partial C}{\partial a_4}",
            number="122",
        ),
        Prose(
            "So everything hangs on the size of one factor, $w \\sigma'(z)$. And the sigmoid's derivative is never above 1/4."
        ),
        _sigmoid(),
        Prose(
            f"""
            The text concludes that weights from $N(0, 1)$ are below 1 in size, so that each factor is below 1/4. That
            is so for {percent(small_weight, 1)} of such weights and {percent(small, 1)} of the factors. But hardly
            any factor reaches 1, and it is the product that counts.
            """
        ),
        _factors(results),
        _products(results),
        Prose(
            """
            When could a factor reach 1? Only where $|w| \\geq 4$; and then only if the neuron sits in a narrow window
            of activations, since a large weight also drives $z = wa + b$ out to where $\\sigma'$ is nearly zero. The
            window is widest, 0.45, at $|w| \\approx 6.9$. Escaping the vanishing gradient takes an accident.
            """
        ),
        _window(),
        Callout(
            "Try it",
            "Move weights and biases, and watch the product form: [the chain](explore.html#chain), "
            "[the window](explore.html#window).",
        ),
    ]


def _sigmoid() -> Figure:
    z = np.linspace(-8, 8, 161)
    s = 1 / (1 + np.exp(-z))
    rows = [{"z": a, "value": b, "function": "σ'"} for a, b in zip(z, s * (1 - s), strict=True)]
    chart = curves_with_bands(
        rows,
        x="z",
        y="value",
        colour="function",
        x_title="z",
        y_title="σ'(z)",
        log_y=False,
        y_domain=(0, 0.26),
        height=180,
    )
    return Figure(
        "sigmoid", chart, "The sigmoid's derivative is 1/4 at most", "At z = 0; at |z| = 3.64 a tenth of that is left."
    )


def _factors(results: Results) -> Figure:
    factors = [f for f in results["chain"]["shown"] if not f["name"].startswith("dC")]
    panels, products = [], []
    for depth in SHOWN_DEPTHS:
        shown = factors[: 2 * depth - 1]
        rows = [{"factor": _lowered(f["name"]), "size": abs(f["value"])} for f in shown]
        products.append(number(float(np.prod([f["value"] for f in shown]))))
        title = f"{depth} neurons: product {products[-1]}"
        panels.append(bars(rows, x="factor", y="size", x_title="", y_title="size", title=title, height=150))
    return Figure(
        "factors",
        panels,
        "A chain of neurons, factor by factor",
        "Weights and biases from N(0, 1); the same chain, cut after 2, 4 and 8 neurons. With ∂C/∂a = 1 at its end the "
        "product is ∂C/∂b₁.",
        columns=1,
        wide=True,
    )


def _lowered(name: str) -> str:
    """``sigmoid'(z_3)`` as the page writes it."""
    return name.replace("sigmoid", "σ").replace("_", "").translate(_SUBSCRIPTS)


_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _products(results: Results) -> Figure:
    found = results["chain"]
    rows = [
        {"depth": d, "size": m, "low": lo, "high": hi, "what": "|∂C/∂b₁|"}
        for d, (lo, m, hi) in zip(found["depth"], np.asarray(found["first"]), strict=True)
    ]
    chart = curves_with_bands(
        rows,
        x="depth",
        y="size",
        low="low",
        high="high",
        colour="what",
        x_title="neurons in the chain",
        y_title="|∂C/∂b₁|",
        band_title=f"95 % of {CHAINS:,} chains",
        height=200,
    )
    return Figure(
        "products",
        chart,
        "The product shrinks exponentially with depth",
        f"Median and 95 % of {CHAINS:,} random chains for each length, with ∂C/∂a = 1 at the end.",
    )


def _window() -> Figure:
    weights, inputs = np.linspace(-16, 16, 33), np.linspace(-1, 1, 21)
    rows = []
    for w in weights:
        for a in inputs:
            s = 1 / (1 + np.exp(-w * a))
            rows.append({"weight": round(float(w), 1), "a": round(float(a), 2), "factor": abs(w) * s * (1 - s)})
    chart = heatmap(
        rows,
        x="weight",
        y="a",
        value="factor",
        x_title="w",
        y_title="a − a₀, where z = 0 at a₀",
        value_title="|w σ'|",
        centre=1.0,
    )
    width, weight = bounds.widest_interval("sigmoid")[::-1]
    return Figure(
        "window",
        chart,
        "A factor above 1 needs a large weight and the right activation",
        f"|w σ'(wa + b)|; orange is above 1. The window is widest, {width:.3f}, at |w| = {weight:.2f}, whatever b is.",
    )


def _full(results: Results) -> list[Any]:
    split = {key: np.median(np.asarray(value), 0) for key, value in results["split"].items()}
    expected = 1 / meanfield.layer_gain("sigmoid", weight_var=1.0, bias_var=1.0)
    front = slice(None, -1)
    return [
        Prose(
            """
            A full network has matrices in place of numbers. With $\\Sigma'(z^l)$ the diagonal matrix of a layer's
            derivatives,
            """
        ),
        Equation(
            r"\delta^l = \Sigma'(z^l)\, (w^{l+1})^T\, \Sigma'(z^{l+1})\, (w^{l+2})^T \cdots \Sigma'(z^L)\, \nabla_a C",
            number="124",
        ),
        Prose(
            """
            Each layer does two things to the gradient that comes back: its weights mix it, its derivatives scale it.
            Both can be measured, on the gradient that really arrived and not as an average case, and together they
            are all there is:
            """
        ),
        Equation(
            r"\frac{\|\delta^l\|}{\|\delta^{l+1}\|} = \left( \frac{\|w^{l+1}\|_F}{\sqrt{n_{l+1}}} \cdot A_w \right) \times "
            r"\left( \text{rms}\,\sigma'(z^l) \cdot A_\sigma \right)",
            spoken="gain equals what the weights do times what the activation does",
        ),
        Prose(
            """
            The first bracket is the weights' factor, the second the activation's. Each is what its layer would do to
            a gradient that points nowhere in particular, times an alignment $A$, near 1, for what it did to this one.
            """
        ),
        _causes(results),
        _split_table(results),
        Prose(
            f"""
            There is the culprit. The weights pass on the gradient almost unchanged (a factor of
            {np.mean((split["weights"] * split["alignment_w"])[front]):.2f}). The activation takes four fifths of it
            at every layer (a factor of {np.mean((split["activation"] * split["alignment_phi"])[front]):.3f}):
            $\\sigma'$ is at most 1/4, and less for every neuron that isn't centred. That makes
            {1 / np.mean(split["gain"][front]):.2f} a layer, where theory expects {expected:.2f} of an infinitely wide
            network. The last factor, coherence, is how much of the single images' gradients survives their average;
            at the start it is nearly the same for all layers, so it plays no part in their differences. Later it
            does, as [the experiment above](#descent) shows.
            """
        ),
        Callout(
            "Which starts let the gradient through?",
            f"For tanh, ReLU, the sigmoid and three more: [theory's map of all starts](explore.html#map), and "
            f"{_trained(results)} deeper networks trained to see whether it tells the truth.",
        ),
    ]


def _trained(results: Results) -> str:
    return f"{sum(np.size(accuracy) for accuracy in results['trainability']['accuracy'].values()):,}"


def _causes(results: Results) -> Figure:
    split = {key: np.asarray(value) for key, value in results["split"].items()}
    causes = {
        "weights": split["weights"] * split["alignment_w"],
        "activation": split["activation"] * split["alignment_phi"],
    }
    rows = [
        {"layer ": str(l + 1), "decades": np.median(np.log10(factor[:, l])), "cause": cause}
        for cause, factor in causes.items()
        for l in range(factor.shape[1])
    ]
    chart = bars(
        rows,
        x="layer ",
        y="decades",
        colour="cause",
        x_title="hidden layer that the gradient arrives at",
        y_title="gain, decades (−1 is a tenth)",
        height=170,
    )
    return Figure(
        "causes",
        chart,
        "The activation takes it, not the weights",
        "What the weights and the activation do to the gradient between each layer and the one behind it, as powers of ten. "
        "Median of 64 networks with four hidden layers.",
    )


def _split_table(results: Results) -> Table:
    split = {key: np.asarray(value) for key, value in results["split"].items()}
    rows: list[list[Any]] = []
    for l in range(3, -1, -1):
        one = {key: float(value[0, l]) for key, value in split.items()}
        weights, activation = one["weights"] * one["alignment_w"], one["activation"] * one["alignment_phi"]
        product = one["received"] * weights * activation * one["coherence"]
        numbers = (one["received"], weights, activation, one["coherence"], product, one["speed"])
        rows.append([f"layer {l + 1}", *map(number, numbers)])
    return Table(
        ["", "received", "× weights", "× activation", "× coherence", "= product", "measured"],
        rows,
        caption="Network 1, its learning speeds multiplied back from their factors",
        id="split",
    )

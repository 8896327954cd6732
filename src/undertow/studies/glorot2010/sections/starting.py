"""Before training: what flows forwards and back, and how large it is; and what becomes of it."""

from typing import Any

import numpy as np

from undertow.render.charts import histogram
from undertow.render.page import Equation, Figure, Prose, Section, Table
from undertow.studies.glorot2010.claims import sources, trained
from undertow.studies.glorot2010.plan import STARTS
from undertow.studies.glorot2010.sections.figures import layer_panels
from undertow.studies.study import Results

CIRCLE = 8 / (3 * np.pi)
"""Mean singular value of a large square matrix of independent entries of variance 1/n (the quarter-circle law)."""

HISTOGRAMS = (
    ("activation", "activations", "Forwards: activations", "activation of single units on single images"),
    ("delta", "gradients", "Back: the gradients of units", "∂C/∂z of single units on single images"),
    ("weight_gradient", "weight-gradients", "The gradients of weights", "∂C/∂w of single weights on single images"),
)


def section(results: Results) -> Section:
    """Histograms of everything at the start, and the layers' Jacobians."""
    return Section(
        "start",
        "How large to start",
        [
            Prose(
                """
                **Method.** Take variances and treat units as independent near 0, where tanh is a straight line. A signal
                on its way up through a layer has its variance multiplied by $n_{in} \\mathrm{Var}\\,W$, a gradient on its way
                down by $n_{out} \\mathrm{Var}\\,W$. To keep both, each would have to be 1; the paper's compromise is
                """
            ),
            Equation(
                r"\mathrm{Var}\,W = \frac{2}{n_{in} + n_{out}}",
                number="12",
                spoken="the variance of W is two over n in plus n out",
            ),
            Prose(
                """
                The start that was standard then draws from $\\pm 1/\\sqrt{n}$, so $n\\,\\mathrm{Var}\\,W = 1/3$: every layer takes two
                thirds of the variance, both ways. **The paper found** it so, and one thing more: the *weights'* gradients
                hide it. The gradient of a weight is the activation below it times what comes back from above; from layer
                to layer one shrinks as fast as the other grows.
                """
            ),
            *(_histograms(results, *each) for each in HISTOGRAMS),
            _sizes(results),
            Prose(
                f"""
                A layer's **Jacobian** $\\partial z^{{l+1}} / \\partial z^l$ says how much a layer passes on in each direction; its
                mean singular value is how much on average. **The paper found** about 0.8 with the normalised start and 0.5
                with the standard one. {_jacobians(results)} Random matrix theory says the same without a network: the singular
                values of a large square matrix of independent entries of variance $1/n$ average
                $8/3\\pi = {CIRCLE:.3f}$, and with a third of the variance {CIRCLE / 3**0.5:.3f}; tanh's slopes, a little below 1,
                take off the rest.
                """
            ),
        ],
    )


def _histograms(results: Results, what: str, name: str, title: str, x_title: str) -> Figure:
    panels = []
    drawn = {kind: np.asarray(results["start"][kind]["samples"][what], float) for kind in STARTS}
    for kind, values in drawn.items():
        first = 2 if what == "weight_gradient" else 1
        limit = 1.0 if what == "activation" else float(np.quantile(np.abs(values), 0.97))
        rows = [
            {"layer": l + 1, what: v}
            for l, layer in enumerate(values)
            for v in layer
            if abs(v) <= limit and l + 1 >= first
        ]
        panels.append(
            histogram(
                rows, value=what, x_title=x_title, y_title="units seen" if what != "weight_gradient" else "weights seen",
                colour="layer", bins=61, title=f"{kind} start",
            )
        )  # fmt: skip
    said = "" if what == "activation" else " The outermost 3\u00a0% are cut off, and the axes differ."
    said += " The first layer is left out: most of its inputs are black pixels." if what == "weight_gradient" else ""
    return Figure(
        name,
        panels,
        title,
        f"A random {len(values[0]):,} of each hidden layer of a tanh network of {results['amount']['start_width']:,} units a layer.{said}",
    )


def _sizes(results: Results) -> Table:
    rows: list[list[Any]] = []
    for kind in STARTS:
        found = results["start"][kind]
        for what, said in (("sd", "activations"), ("delta", "∂C/∂z"), ("weight_gradient", "∂C/∂w")):
            sizes = np.median(np.asarray(found[what], float), 0)
            rows.append([f"{kind}: {said}", *(f"{v:.2f}" for v in sizes / sizes[-1])])
    columns = ["start and signal", *(f"layer {l}" for l in range(1, len(rows[0])))]
    caption = "Sizes relative to the last hidden layer's (standard deviation, root mean square), median over networks"
    return Table(columns, rows, caption=caption, id="sizes")


def _jacobians(results: Results) -> str:
    said = []
    for kind in ("normalised", "standard"):
        mean = np.asarray(results["start"][kind]["singular"], float).mean(0)
        said.append(f"{' '.join(f'{v:.3f}' for v in mean)} ({kind})")
    return f"**Here**, from each hidden layer to the next: {' and '.join(said)}."


def through_training(results: Results) -> Section:
    """The Jacobians and the weights' gradients while tanh networks learn."""
    both = {"tanh": "tanh, standard", "tanh N": "tanh, normalised"}
    return Section(
        "later",
        "And later?",
        [
            Prose(
                """
                A good start need not last. **The paper found** that the weights' gradients, equal in all layers at first, drift
                apart while networks from the standard start learn, and stay together from the normalised one.
                """
            ),
            Figure(
                "weight-gradients-later",
                layer_panels(results, both, "weight_gradient", "rms ∂C/∂w"),
                "The weights' gradients while they learn",
                "Root mean square of ∂C/∂w of single images, layer by layer; median over the networks and the range of all. The first "
                "layer's inputs are images, of another size than activations.",
            ),
            Prose(_drift(results)),
            Figure(
                "singular-later",
                layer_panels(results, both, "singular", "mean singular value", log_y=False),
                "The layers' Jacobians while they learn",
                "Mean singular value of the Jacobian from each hidden layer to the next.",
            ),
        ],
    )


def _drift(results: Results) -> str:
    said = []
    for source, called in sources(results).items():
        for name in ("tanh", "tanh N"):
            sizes = trained(results, source, name, "weight_gradient")[:, :, 1:]
            ratio = np.median(sizes.max(-1) / sizes.min(-1), 0)
            said.append(f"{name} on {called} {ratio[0]:.2f} at the start and {ratio[-1]:.2f} at the end")
    return f"**Here** the largest over the smallest among layers 2 to 5, which are of equal shape, is for {'; '.join(said)}."

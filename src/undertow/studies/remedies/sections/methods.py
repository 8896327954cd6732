"""What is asked; what this design can't tell; how it was made."""

import numpy as np

from undertow.render.page import Callout, Prose, Section
from undertow.studies.remedies.design import WRITTEN
from undertow.studies.remedies.table import CALLED, gradient_decades, index
from undertow.studies.study import Results
from undertow.studies.wording import signed

WORDS = """
**Plain**: each layer gives $\\varphi(Wh + b)$. **BatchNorm** and **LayerNorm** bring $Wh$ to mean 0 and variance 1 first, the one for each unit over the
images of a mini-batch, the other for each image over the units of the layer. **Residual**: a layer adds what it computes to what it was
given, $h + \\varphi(Wh + b)$; **residual + norm**: $h + \\varphi(W\\,\\mathrm{norm}(h) + b)$ with LayerNorm. The **starts**: the **book**'s, $W$ from $N(0, 1/n)$ and $b$
from $N(0, 1)$; **Glorot**'s and **He**'s, of variance $2/(n_{in} + n_{out})$ and $2/n_{in}$; **orthogonal** matrices; and the **critical** one, where
mean-field theory says that a layer keeps the gradient's length: for tanh 1.688 and .038 ($n\\,\\mathrm{Var}\\,W$ and $\\mathrm{Var}\\,b$), for GELU 1.983 and .173, for
ReLU He's. The sigmoid has no such point within reason; with biases at 0 it would take $n\\,\\mathrm{Var}\\,W = 103$, which is what it gets.
"""


def question(results: Results) -> Section:
    """The experiment in short."""
    factors = results["factors"]
    levels = "; ".join(
        f"{CALLED[name]}: {', '.join(WRITTEN.get(level, str(level)) for level in factors[name])}"
        for name in ("depth", "activation", "start", "architecture", "optimizer")
    )
    return Section(
        "question",
        "What was asked",
        [
            Prose(
                f"""
                Which of the remedies makes a deep network trainable, alone or with which others? The design is the full factorial, nothing
                left out: {levels}. Every combination is tried with three learning rates, {results["amount"]["networks"]:,} networks in all, of
                {results["amount"]["width"]} units a layer.
                """
            ),
            Callout("Words used here", WORDS),
        ],
    )


def differences(results: Results) -> Section:
    """What can't be concluded."""
    amount = results["amount"]
    depth = results["factors"]["depth"][-1]
    rates = "; ".join(f"{name} {', '.join(f'{r:g}' for r in each)}" for name, each in results["rates"].items())
    return Section(
        "differences",
        "Where this departs from what is said, and what it can't tell",
        [
            Prose(
                f"""
                - **Residual connections** without a norm add up: every layer adds to what it was given, so that signals and gradients grow with depth
                  where the activation isn't bounded. Before training, over {depth} layers, the gradient changes by {_decades(results, "residual", "relu")} decades for
                  ReLU, {_decades(results, "residual", "gelu")} for GELU, {_decades(results, "residual", "tanh")} for tanh. None of the
                  learning rates tried suits the deepest of ReLU and GELU. In earnest the sum is normalised or scaled down; the papers' residual networks have norms.
                - **BatchNorm** makes gradients explode where a layer's slope isn't small: {_decades(results, "BatchNorm", "tanh")} decades over {depth} layers of tanh,
                  {_decades(results, "BatchNorm", "relu")} of ReLU. Not so with the sigmoid ({_decades(results, "BatchNorm", "sigmoid")}), whose
                  slope of at most a quarter works against it; so BatchNorm carries it deeper than the others.
                - **Orthogonal** matrices keep all lengths and not only the mean one, which is more than the critical start does; where the activation is
                  near its straight line (tanh about 0) the whole network does so then (Saxe et al.).
                """
            ),
            Prose(
                f"""
                - **Small and short.** {amount["width"]} units a layer and {amount["updates"]} updates. A network that doesn't train here might with more patience; one that
                  does may end worse than another. The papers that proposed these remedies trained large networks to the end.
                - **One network a cell.** Each combination and learning rate is one network from one seed, so a single cell of a map can be luck; what is
                  said of a factor is a mean over hundreds. Networks from the same start and depth share their random numbers.
                - **Three learning rates** for each optimizer ({rates}), judged on the images that accuracy is reported on: a little too kind to all.
                - **Norms** have no gain to learn; $b$ comes after them. BatchNorm judges images by the statistics of the {amount["judged"]:,} images it is judged on,
                  not by running averages.
                - **Residual** networks without a norm aren't scaled down with depth, as one would in earnest.
                - **Narrow layers** wander about theory's factors: of 32 units, the product of a hundred layers' gains differs from network to network by
                  decades.
                """
            ),
        ],
    )


def _decades(results: Results, architecture: str, activation: str) -> str:
    """By how many decades the gradient grows on its way back through the deepest networks, the middle one of the starts."""
    [h], [a] = index(results, "architecture", architecture), index(results, "activation", activation)
    return signed(float(np.nanmedian(gradient_decades(results)[a, h, -1])), 1)


def methods() -> Section:
    """How to repeat it."""
    return Section(
        "methods",
        "How this was made",
        [
            Prose(
                """
                The lab's written-out backpropagation covers plain networks under gradient descent and momentum. It doesn't cover norms, residual
                connections and Adam. So that all combinations run by the same engine, this study uses automatic differentiation over stacked
                networks throughout; on plain networks tests hold it to the lab, gradients and updates, and on the others to torch's own modules
                and optimizers. The output layer starts alike in all networks. `results.json` beside this page holds all numbers, `results.parquet` a
                row for each network.

                **Sources.** M. Nielsen, *Neural Networks and Deep Learning*, 2015, chapter 5. X. Glorot and Y. Bengio 2010; K. He et al. 2015 and
                2016; S. Ioffe and C. Szegedy 2015; J. Ba et al. 2016; D. Kingma and J. Ba 2015; A. Saxe et al. 2014; S. Schoenholz et al. 2017; G. Yang et
                al., *A mean field theory of batch normalization*, 2019.
                """
            )
        ],
    )

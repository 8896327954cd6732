"""The text of the page to play with, section by section, and how well theory foretold what was trained."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.render.page import Instrument, Prose, Section
from undertow.studies.chapter5.protocol import NEURONS
from undertow.studies.wording import percent
from undertow.theory import meanfield

Results = dict[str, Any]

TRAINED = 0.5
"""A setting counts as trained if its networks get more than this share right."""

WITHIN = 1.0
"""Decades that the gradient may lose or gain over the layers for theory to call a setting fit to train."""


def chain() -> Section:
    """One chain of neurons under sliders."""
    return Section(
        "chain",
        "The product forms",
        [
            Prose(
                r"""
                One neuron a layer, $a_j = \varphi(w_j a_{j-1} + b_j)$. Nudge the first bias: each neuron multiplies the
                nudge by a factor $w_j \varphi'(z_j)$ on its way to the cost. Blue bars shrink it, orange ones, marked ▲,
                are 1 or more. Bars are on a logarithmic axis, so their heights add up to the product below.

                *Try this.* Start with every weight 1, and raise $w$ until the product stops falling. Then press **an
                explosion**: each factor is $16/4 = 4$. Now move the bias by a tenth. What happened, and what does the
                next picture say about it?
                """
            ),
            Instrument(
                "factors",
                "Each factor, and what is left after it",
                "chain",
                "With ∂C/∂a = 1 at the end. Dotted: the most that these weights could keep, if every z were where φ′ is "
                "largest. For the sigmoid that is a quarter of each weight.",
            ),
        ],
    )


def window() -> Section:
    """The plane of weight and activation."""
    return Section(
        "window",
        "Where a factor can be 1 or more",
        [
            Prose(
                r"""
                The same $w$ that multiplies also drives $z = wa + b$ away from where $\varphi'$ is large. So a factor
                of 1 takes a large enough weight *and* an activation inside a window. Press or drag in the plane to move
                the weight and the input of the chain above; the bias moves the window sideways.
                """
            ),
            Instrument(
                "region",
                "How large one factor is, and how narrow the way to 1",
                "region",
                "Ring: the first neuron’s weight and input. Dots: the other neurons of the chain, if all weights are the "
                "same. Thick line: the window for this weight.",
            ),
            Prose(
                """
                There is the answer. In **an explosion** every neuron sits in the middle of its window, where the
                factor is 4. But what multiplies the gradient by 4 multiplies any error of the activation by 4, too:
                **a hair off**, and two neurons later the activation has left the window for good. A chain that
                explodes is as hard to build as it is to keep.
                """
            ),
        ],
    )


def starts(trainability: Results) -> Section:
    """Theory's map of variances, and the networks trained on it."""
    return Section(
        "map",
        "Full networks: the map of starts",
        [
            Prose(
                r"""
                In a wide network with random weights every layer multiplies the mean squared gradient by one number,
                $\chi_1$, and that number depends only on the activation and two variances. The map is coloured by what
                a gradient loses or gains on its way through as many layers as you choose: the deeper, the narrower the
                pale strip along the line $\chi_1 = 1$ where it arrives at all.
                """
            ),
            Instrument(
                "starts",
                "What theory expects, the usual starts, and who really learned",
                "map",
                _done(trainability),
            ),
            Prose(_agreement(trainability)),
        ],
    )


def _done(grid: Results) -> str:
    networks = len(grid["weight_var"]) * len(grid["bias_var"]) * grid["members"]
    etas = " and ".join(f"{eta:g}" for eta in grid["etas"])
    best = ", each setting counted by its better one" if len(grid["etas"]) > 1 else ""
    return (
        f"Dots: real networks of {grid['depth']} hidden layers of {NEURONS} neurons with tanh, ReLU or sigmoid, all layers "
        f"drawn with the variances at the dot, {networks} networks of each activation ({grid['members']} a dot, from different "
        f"seeds). Trained on {grid['images']:,} images for {grid['epochs']} epochs in mini-batches of 10, log-likelihood "
        f"cost, learning rate {etas}{best}; share of 1,000 validation images right. Colours: theory at q*, for infinite "
        "width. After Schoenholz et al. 2017, figure 5."
    )


def _agreement(grid: Results) -> str:
    near, far = zip(*(_learned(grid, name) for name in ("tanh", "relu")), strict=True)
    sigmoid = np.asarray(grid["accuracy"]["sigmoid"]).mean(-1)
    return f"""
    **Does theory call it?** With tanh, {percent(near[0])} of the settings for which it expects the gradient to change by
    less than a decade over {grid["depth"]} layers did learn (more than half of the images right), and {percent(far[0])} of
    the rest. With ReLU these are {percent(near[1])} and {percent(far[1])}. With the sigmoid theory's whole map is blue: no
    choice of variances on it lets the gradient through, and the best setting got {percent(sigmoid.max())} right. That is the
    chapter's trouble, seen from above.

    The dots don't keep to the line exactly. Learning changes the weights too, so a network may walk into the pale strip
    from outside; {NEURONS} neurons are not infinitely many, so networks of one setting differ; and the learning rate has a
    say of its own where the signal is large.
    """


def _learned(grid: Results, name: str) -> tuple[float, float]:
    """The share of settings that learned, of those that theory expects to and of the others."""
    fit, learned = expected(grid, name), np.asarray(grid["accuracy"][name]).mean(-1) > TRAINED
    return float(learned[fit].mean()), float(learned[~fit].mean())


def expected(grid: Results, name: str) -> NDArray[np.bool_]:
    """Where theory expects the gradient to change by less than a decade over the layers, [bias, weight variances].

    Example:
        >>> expected({"weight_var": [0.1, 1.0], "bias_var": [0.0], "depth": 10}, "tanh").tolist()
        [[False, True]]
    """
    bias_var = np.asarray(grid["bias_var"])[:, None]
    chi = meanfield.phase_diagram(name, np.asarray(grid["weight_var"]), bias_var).chi
    return np.asarray(np.abs(np.log10(chi) / 2 * grid["depth"]) < WITHIN)

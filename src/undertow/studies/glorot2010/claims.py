"""The paper's claims about these networks, in our words, and the rules that judge it by the results in hand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.formatting import listed, number, percent, signed
from undertow.studies.glorot2010.config import COMPARED, SHAPES
from undertow.studies.statistics import MeanDifference, compare, concordant
from undertow.studies.study import Claim, Judged, Results, verdict

Array = NDArray[np.float64]

SATURATED_MEAN = 0.1
"""A sigmoid layer whose mean activation is under this is at its lower end."""

SATURATED_SHARE = 0.2
"""A layer with this share of its units at an end of their range is called saturated."""

KEPT_WITHIN = 1.25
"""Factor under which two sizes are called alike."""

ESCAPED_ERROR = 0.5
"""A network that gets this share of validation images wrong or less has begun to learn, whatever the classes."""

FLAT_WITHIN = 1.5
"""Sizes that differ by less than this factor from layer to layer, first to last, are called equal."""


def sources(results: Results) -> dict[str, str]:
    """Return the data trained on, our own shapes last: key in the results -> what to call it."""
    named = {name: name.upper() if name == "mnist" else name for name in results["training"] if name != SHAPES}
    return {**named, SHAPES: "our shapes"}


def trained(results: Results, source: str, name: str, what: str) -> Array:
    """Return what was measured of one configuration through training, [members, points, ...]."""
    return np.asarray(results["training"][source][name][what], float)


def test_error(results: Results, source: str, name: str) -> Array:
    """Return the per cent of test images wrong after training, [members]."""
    return 100 * trained(results, source, name, "test_error")


def spread(sizes: Array) -> float:
    """Largest over smallest of the layers' sizes (last axis), the median over everything else.

    Example:
        >>> spread(np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 3.0]]))
        3.0
    """
    return float(np.median(sizes.max(-1) / sizes.min(-1)))


def top_saturates(results: Results) -> Judged:
    """The last hidden layer of sigmoid networks goes to 0 at once, the others lie above 1/2."""
    lowest, ordered, networks = [], 0, 0
    for source in results["training"]:
        for name in ("sigmoid", "sigmoid, 4 layers"):
            mean = trained(results, source, name, "mean")
            for curve in mean:
                deepest = curve[:, -1].argmin()
                lowest.append(curve[deepest, -1])
                below = curve[deepest, 1:-1]
                ordered += bool((below > 0.5).all() and (np.diff(below) > 0).all())
                networks += 1
    pushed = sum(low < SATURATED_MEAN for low in lowest)
    measured = (
        f"the mean activation of the last hidden layer falls from 1/2 to {listed([np.median(lowest)])} (median of lowest points) and "
        f"under {SATURATED_MEAN:g} in {pushed} of {networks} networks; at that moment the layers between it and the first lie above "
        f"1/2, the higher the later, in {ordered}"
    )
    return measured, verdict(pushed == networks and ordered == networks, pushed > networks / 2)


def escaped(results: Results, source: str, name: str) -> Array:
    """Images trained on when each network has first got half of the validation images right, inf if never, [members]."""
    right = trained(results, source, name, "error") < ESCAPED_ERROR
    examples = np.append(np.asarray(results["training"][source][name]["examples"], float), np.inf)
    return np.array([examples[each.argmax() if each.any() else -1] for each in right])


def told_escape(when: Array) -> str:
    """Tell in words when networks escaped.

    Example:
        >>> told_escape(np.array([30.0, 1200.0, np.inf])), told_escape(np.array([np.inf]))
        ('2 of 3 after 30 to 1,200 images', '0 of 1')
    """
    there = when[np.isfinite(when)]
    ends = " to ".join(dict.fromkeys(f"{e:,.0f}" for e in (there.min(), there.max()))) if there.size else ""
    return f"{len(there)} of {len(when)}" + (f" after {ends} images" if ends else "")


def escapes(results: Results) -> Judged:
    """With four hidden layers the saturated layer comes back late; with five far later or, on shapes, never."""
    said, earlier, as_said = [], [], []
    for source, called in sources(results).items():
        four, five = (escaped(results, source, name) for name in ("sigmoid, 4 layers", "sigmoid"))
        said.append(f"{called}: {told_escape(four)} with four, {told_escape(five)} with five")
        earlier.append(four.max() < five.min())
        as_said.append(bool(np.isfinite(four).all() and (source != SHAPES or np.isinf(five).all())))
    measured = f"networks that learn by the end of training: {'; '.join(said)}"
    return measured, verdict(all(earlier) and all(as_said), any(earlier))


def saturated_from(results: Results, source: str, name: str) -> Array:
    """Images trained on when a fifth of each layer has first come to an end of its range, inf if never, [members, layers]."""
    there = trained(results, source, name, "ended") > SATURATED_SHARE
    examples = np.append(np.asarray(results["training"][source][name]["examples"], float), np.inf)
    return np.asarray(examples[np.where(there.any(1), there.argmax(1), -1)])


def told_saturation(when: Array) -> str:
    """After how many images each layer was saturated, the median over networks, in words.

    Example:
        >>> told_saturation(np.array([[900.0, 1200.0, np.inf]]))
        '900 / 1,200 / never'
    """
    return " / ".join(f"{v:,.0f}" if np.isfinite(v) else "never" for v in np.median(when, 0))


def tanh_saturates_upwards(results: Results) -> Judged:
    """Under the standard start tanh layers saturate one after the other, the first first."""
    said, first, in_order, networks = [], 0, 0, 0
    for source, called in sources(results).items():
        when = saturated_from(results, source, "tanh")
        said.append(f"{called}: {told_saturation(when)}")
        begun = np.isfinite(when[:, 0])
        first += int((begun & (when[:, :1] < when[:, 1:]).all(1)).sum())
        in_order += int((begun & (when[:, :-1] <= when[:, 1:]).all(1) & (when[:, 0] < when[:, -1])).sum())
        networks += len(when)
    measured = (
        f"a fifth of layers 1 to 5 has come to an end of its range after so many images, {'; '.join(said)}. The first layer is first in {first} of "
        f"{networks} networks, all five come in order in {in_order}"
    )
    return measured, verdict(in_order == networks, first > networks / 2)


def softsign_stays_clear(results: Results) -> Judged:
    """Fewer of softsign's units come to the ends of their range than of tanh's."""
    said, below = [], []
    for source, called in sources(results).items():
        tanh, softsign = (np.median(trained(results, source, n, "ended")[:, -1], 0) for n in ("tanh", "softsign"))
        said.append(f"{called}: at most {percent(softsign.max())} of a layer, against tanh's {percent(tanh.max())}")
        below.append(softsign.max() < tanh.max())
    return "; ".join(said), verdict(all(below), any(below))


def gradients_shrink(results: Results) -> Judged:
    """Judge that what comes back shrinks towards the input under the standard start and hardly under the normalised one."""
    ratio = {kind: _first_over_last(results, kind, "delta") for kind in ("standard", "normalised")}
    measured = (
        f"the first hidden layer gets {number(ratio['standard'])} times what the last gets under the standard start, "
        f"{number(ratio['normalised'])} times under the normalised one"
    )
    kept = 1 / FLAT_WITHIN < ratio["normalised"] < FLAT_WITHIN
    return measured, verdict(ratio["standard"] < 0.5 and kept, ratio["standard"] < 0.5 * ratio["normalised"])


def weight_gradients_flat(results: Results) -> Judged:
    """All the same, the weights' gradients are about equal in all layers, under either start."""
    found = {k: spread(np.asarray(results["start"][k]["weight_gradient"])[:, 1:]) for k in ("standard", "normalised")}
    measured = (
        f"largest over smallest among the layers of equal shape: {found['standard']:.2f} (standard), {found['normalised']:.2f} "
        "(normalised)"
    )
    return measured, verdict(max(found.values()) < FLAT_WITHIN, found["standard"] < FLAT_WITHIN)


def singular_values(results: Results) -> Judged:
    """The mean singular value of a layer's Jacobian is about .8 normalised and .5 standard."""
    mean = {k: float(np.mean(np.asarray(results["start"][k]["singular"]))) for k in ("standard", "normalised")}
    measured = (
        f"{mean['normalised']:.2f} normalised, {mean['standard']:.2f} standard (all layers, {_width(results)} wide)"
    )
    near = abs(mean["normalised"] - 0.8) < 0.1, abs(mean["standard"] - 0.5) < 0.1
    return measured, verdict(all(near), any(near))


def standard_drifts(results: Results) -> Judged:
    """In training the weights' gradients drift apart between layers under the standard start, not the normalised."""
    said, apart = [], []
    for source, called in sources(results).items():
        both = {n: spread(trained(results, source, n, "weight_gradient")[:, -1, 1:]) for n in ("tanh", "tanh N")}
        said.append(f"{called}: {both['tanh']:.2f} standard, {both['tanh N']:.2f} normalised")
        apart.append((both["tanh"] > KEPT_WITHIN * both["tanh N"], both["tanh N"] < FLAT_WITHIN))
    measured = f"largest over smallest among the layers of equal shape at the end, tanh, {'; '.join(said)}"
    return measured, verdict(all(a and b for a, b in apart), any(a for a, _ in apart))


def normalised_helps(results: Results) -> Judged:
    """The normalised start makes tanh better, and matters less to softsign."""
    said, gains = [], []
    for source, called in sources(results).items():
        gain = {n: gained(results, source, n) for n in ("tanh", "softsign")}
        told = [f"{signed(-found.mean)} points of error for {n} ({found.said})" for n, found in gain.items()]
        said.append(f"{called}: {', '.join(told)}")
        gains.append((gain["tanh"].low > 0 and abs(gain["softsign"].mean) < gain["tanh"].mean, gain["tanh"].mean > 0))
    return "; ".join(said), verdict(all(a for a, _ in gains), all(b for _, b in gains))


def gained(results: Results, source: str, name: str) -> MeanDifference:
    """By how much an activation's test error is less from the normalised start than from the standard one."""
    return compare(test_error(results, source, f"{name} N"), test_error(results, source, name))


def ranking(results: Results) -> Judged:
    """The five configurations in the paper's order."""
    said, agreement, last = [], [], []
    for source, called in sources(results).items():
        paper = results["paper_error"]["Shapeset" if source == SHAPES else "MNIST"]
        ours = {name: _mean_error(results, source, name) for name in COMPARED}
        order = sorted(COMPARED, key=lambda name: ours[name])
        said.append(f"{called}: {' < '.join(f'{name} {ours[name]:.2f}' for name in order)}")
        agreement.append(concordant(ours, paper))
        last.append(order[-1] == "sigmoid")
    measured = f"best to worst, {'; '.join(said)}. Of the paper's pairs in order {', '.join(f'{a:.0%}' for a in agreement)} are so here"
    return measured, verdict(min(agreement) == 1, min(agreement) >= 0.6 and all(last))


def plateaus(results: Results) -> Judged:
    """The quadratic cost has plateaus where the log-likelihood has none."""
    surface = results["surface"]
    flat = {name: surface[name]["flat"] for name in ("log-likelihood", "quadratic")}
    measured = f"flat are {percent(flat['quadratic'])} of the quadratic cost's surface and {percent(flat['log-likelihood'])} of the log-likelihood's"
    return measured, verdict(flat["quadratic"] > 2 * flat["log-likelihood"], flat["quadratic"] > flat["log-likelihood"])


def _mean_error(results: Results, source: str, name: str) -> float:
    return float(test_error(results, source, name).mean())


def _first_over_last(results: Results, kind: str, what: str) -> float:
    sizes = np.asarray(results["start"][kind][what])
    return float(np.median(sizes[:, 0] / sizes[:, -1]))


def _width(results: Results) -> int:
    width: Any = results["amount"]["start_width"]
    return int(width)


CLAIMS = [
    Claim(
        "In sigmoid networks of four and five hidden layers the last one is pushed to 0 at once; the others lie above 1/2, "
        "falling from the output towards the input.",
        top_saturates,
    ),
    Claim(
        "With four hidden layers that saturation is escaped, late; with five later, and on Shapeset never.",
        escapes,
    ),
    Claim(
        "Under the standard start tanh layers saturate one after the other, beginning with the first.",
        tanh_saturates_upwards,
    ),
    Claim("Softsign saturates less than tanh.", softsign_stays_clear),
    Claim(
        "What is propagated back shrinks towards the input under the standard start; the normalised start prevents it.",
        gradients_shrink,
    ),
    Claim("The weights' gradients are about equal in all layers all the same.", weight_gradients_flat),
    Claim("The mean singular value of a layer's Jacobian is about .8 (normalised) and .5 (standard).", singular_values),
    Claim(
        "In training the weights' gradients drift apart from layer to layer, unless the start is normalised.",
        standard_drifts,
    ),
    Claim("The normalised start lowers tanh's error and matters less to softsign.", normalised_helps),
    Claim("The five networks rank as in table 1; the sigmoid comes last by far.", ranking),
    Claim("The quadratic cost has plateaus that the log-likelihood has not.", plateaus),
]
"""In the paper's order: sections 3, 4.1, 4.2, 5."""

"""The paper's claims about these autoencoders, in our words, and the rules that judge it by the results in hand."""

import numpy as np
from numpy.typing import NDArray

from undertow.formatting import listed, number
from undertow.studies.statistics import concordant
from undertow.studies.study import Claim, Judged, Results, verdict
from undertow.studies.sutskever2013.config import METHODS, MU

Array = NDArray[np.float64]

CLOSE = 0.25
"""Relative: a factor a layer this near to the predicted one counts as the predicted one."""

HIGH = MU[1:]
"""Momentum coefficients for which lowering them at the end can matter."""


def final(results: Results, method: str, what: str = "error") -> float:
    """Squared error on training images at the end, the mean over networks."""
    return float(np.mean(_last(results["methods"][method], what)))


def scale_error(results: Results, scale: str) -> float:
    """Squared error at the end of those that start at a scale, the mean over networks."""
    return float(np.mean(_last(results["scales"][scale], "error")))


def lowered(results: Results, method: str) -> tuple[float, float, float]:
    """Squared error before momentum is lowered, at the end, and at the end if it is left high; means over networks."""
    before, high = (
        float(np.mean(np.asarray(results["methods"][method][key], float))) for key in ("before", "kept_high")
    )
    return before, final(results, method), high


def sigmoid_gains(results: Results, scale: str) -> Array:
    """||δ^l|| / ||δ^{l+1}|| before training where layer l is one of sigmoids and not fed by pixels, [members, layers].

    The first layer is left out, and the linear code.
    """
    gains = np.asarray(results["scales"][scale]["gain"], float)
    code = len(results["amount"]["hidden"]) - 1
    return np.delete(gains, [0, code], axis=1)


def slow_layers(results: Results, method: str) -> tuple[Array, Array]:
    """Return each layer's share of the gradient at the start, and how much further a method moves it than SGD does.

    Both [layers], the first relative to the output layer's; the second is a ratio of medians over networks.
    """
    gains = np.median(np.asarray(results["scales"]["1"]["gain"], float), 0)
    received = np.append(np.cumprod(gains[::-1])[::-1], 1.0)
    far = {n: np.median(np.asarray(results["methods"][n]["moved"], float)[:, -1], 0) for n in ("SGD", method)}
    return received, far[method] / far["SGD"]


def caught_up(results: Results, method: str, share: float = 0.1) -> tuple[int, float]:
    """Return how far the front half of the layers has come relative to the last, by a share of training: update, ratio."""
    found = results["methods"][method]
    updates = np.asarray(found["updates"], float)
    at = int(np.abs(updates - share * updates[-1]).argmin())
    moved = np.median(np.asarray(found["moved"], float)[:, at], 0)
    return int(updates[at]), float(moved[: len(moved) // 2].mean() / moved[-1])


def slowness(received: Array, further: Array) -> float:
    """Rank correlation of what layers get and what they gain; negative where those that get least gain most."""
    from scipy import stats  # only where claims are judged

    return float(stats.spearmanr(received, further).statistic)


def best_to_worst(results: Results, kind: str = "") -> list[str]:
    """Return the methods, of one kind where one is named, by their errors at the end, what diverged last."""
    names = [name for name, method in METHODS.items() if kind in ("", method.kind)]
    return sorted(names, key=lambda name: np.nan_to_num(final(results, name), nan=np.inf))


def best_method(results: Results, kind: str = "") -> str:
    """Return the method with the least error at the end; of one kind, where one is named."""
    return best_to_worst(results, kind)[0]


def momentum_beats_sgd(results: Results) -> Judged:
    """Momentum with a good schedule beats plain gradient descent by far."""
    sgd = final(results, "SGD")
    better = [name for name in METHODS if name != "SGD" and final(results, name) < sgd]
    best = best_method(results)
    measured = (
        f"SGD is left with {number(sgd)}, the best with momentum ({best}) with {number(final(results, best))}; "
        f"{len(better)} of {len(METHODS) - 1} methods with momentum are below SGD"
    )
    return measured, verdict(final(results, best) < 0.8 * sgd and len(better) >= 6, best != "SGD")


def nesterov_beats_classical(results: Results) -> Judged:
    """At the same large momentum Nesterov's method ends no worse than classical momentum."""
    pairs = {mu: (final(results, f"{mu:g}N"), final(results, f"{mu:g}M")) for mu in MU}
    better = [n <= m or np.isnan(m) for n, m in pairs.values()]
    said = "; ".join(f"{mu:g}: {number(n)} against {number(m)}" for mu, (n, m) in pairs.items())
    return f"squared error by Nesterov's and by classical momentum, {said}", verdict(all(better), sum(better) > 2)


def larger_is_better(results: Results) -> Judged:
    """Momentum of .99 and more beats .9, which is what was usual."""
    errors = {mu: final(results, f"{mu:g}N") for mu in MU}
    measured = f"with Nesterov's method at {listed(MU)}: {listed(list(errors.values()))}"
    return measured, verdict(errors[0.99] < errors[0.9], min(errors[mu] for mu in HIGH) < errors[0.9])


def lowering_helps(results: Results) -> Judged:
    """Lowering momentum to .9 for the last updates lowers the error at once."""
    said, gains = [], []
    for kind in ("N", "M"):
        for mu in HIGH:
            before, after, high = lowered(results, f"{mu:g}{kind}")
            said.append(
                f"{mu:g}{kind}: {number(before)} before, {number(after)} after, {number(high)} with momentum left high"
            )
            gains.append(after < min(before, high))
    return "; ".join(said), verdict(all(gains), sum(gains) > len(gains) / 2)


def scales_that_fail(results: Results) -> Judged:
    """Starts a quarter and half as large fail; that and twice it work; four times is worse again."""
    error = {scale: scale_error(results, scale) for scale in results["scales"]}
    good = min(error["1"], error["2"])
    measured = f"squared error at a quarter, half, 1, 2 and 4 times the scale: {listed(list(error.values()))}"
    fail = min(error["0.25"], error["0.5"]) > 1.5 * good
    return measured, verdict(fail and max(error["1"], error["2"]) < error["4"], fail)


def theory_says_which(results: Results) -> Judged:
    """Not in the paper: mean-field theory foresees how much of the gradient a layer passes on, for every scale."""
    said, near = [], []
    for scale, found in results["scales"].items():
        measured = float(np.median(sigmoid_gains(results, scale)))
        said.append(f"× {float(scale):g}: {measured:.2f} measured, {found['expected_gain']:.2f} foreseen")
        near.append(abs(measured / found["expected_gain"] - 1) < CLOSE)
    return f"factor a layer, {'; '.join(said)}", verdict(all(near), sum(near) >= 3)


def slow_layers_gain(results: Results) -> Judged:
    """Directions along which the cost falls slowly but steadily gain most from momentum."""
    method = best_method(results, "Nesterov")
    received, further = slow_layers(results, method)
    rank = slowness(received, further)
    measured = (
        f"{method} moves the layers, first to last, {listed(further)} times as far as SGD; the rank correlation with the gradient that "
        f"they get at the start is {rank:.2f}"
    )
    return measured, verdict(rank < -0.5, rank < 0)


def ranking(results: Results) -> Judged:
    """The nine methods in the order of the paper's MNIST column."""
    ours = {name: final(results, name) for name in METHODS}
    share = concordant(ours, results["paper_error"]["MNIST"])
    order = sorted(ours, key=lambda name: ours[name])
    measured = f"best to worst: {', '.join(f'{name} {number(ours[name])}' for name in order)}; {share:.0%} of the paper's pairs in order are so here"
    return measured, verdict(share > 0.9, share > 0.65)


def _last(found: Results, what: str) -> Array:
    values = np.asarray(found[what], float)
    return values[:, -1] if values.ndim > 1 else values


CLAIMS = [
    Claim("With momentum on a schedule deep autoencoders train far better than without.", momentum_beats_sgd),
    Claim(
        "Nesterov's method does as well as classical momentum or better, above all where momentum is large.",
        nesterov_beats_classical,
    ),
    Claim("Momentum well above the usual .9 pays.", larger_is_better),
    Claim("Lowering momentum to .9 at the very end lowers the error at once.", lowering_helps),
    Claim(
        "A sparse start a quarter or half as large fails altogether; at its own scale and twice that it works, at four times worse.",
        scales_that_fail,
    ),
    Claim(
        "Ours: mean-field theory says beforehand how much of the gradient each layer passes on at each scale.",
        theory_says_which,
    ),
    Claim(
        "Momentum helps most where the cost falls slowly and steadily; ours: so in the layers that get least gradient.",
        slow_layers_gain,
    ),
    Claim("The nine methods rank as in table 1.", ranking),
]
"""In the paper's order, with two questions of our own."""

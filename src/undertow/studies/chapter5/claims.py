"""Every claim that the chapter's text makes, in our words, beside what was measured and whether it holds.

Whether a claim holds is decided here by a rule, from the results in hand: another seed or another data set may
decide otherwise.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from undertow.formatting import number, percent, signed
from undertow.studies.chapter5.config import HIDDEN
from undertow.studies.statistics import compare
from undertow.studies.study import Claim, Judged, Results, verdict
from undertow.theory import bounds, meanfield

CLOSE = 0.2
"""Relative: a factor this near to the predicted one counts as the predicted one."""

NEARLY_FROZEN = 0.01


def final_accuracy(results: Results, hidden: int) -> np.ndarray[Any, Any]:
    """Return the per cent of validation images right after the last epoch, [R]."""
    return 100 * np.asarray(results["accuracy"][str(hidden)]["validation"])[:, -1]


def deeper_hurts(results: Results) -> Judged:
    """Claim 1: a second hidden layer helps, a third and a fourth hurt."""
    means = [final_accuracy(results, h).mean() for h in HIDDEN]
    steps = [compare(final_accuracy(results, a), final_accuracy(results, b)) for a, b in pairwise(HIDDEN)]
    signs = [step.mean * sign > 0 for step, sign in zip(steps, (1, -1, -1), strict=True)]
    certain = [step.significant for step in steps]
    said = ", ".join(f"{signed(step.mean)} ({step.said})" for step in steps)
    end = "above one, as in the text" if means[3] > means[0] else "not above one, where the text has them"
    measured = f"{', '.join(f'{m:.2f}' for m in means)} %; steps of {said}. Four layers end {end}"
    return measured, verdict(all(signs) and all(certain), any(signs))


def idle_layer(results: Results) -> Judged:
    """Claim 2: an added layer that learns nothing should not hurt."""
    controls = {name: 100 * np.asarray(values)[:, -1].mean() for name, values in results["controls"].items()}
    one, four = (final_accuracy(results, h).mean() for h in (1, 4))
    random, identity = (
        controls["all but the first of four frozen"],
        controls["extra three start as identity, frozen"],
    )
    trained = controls["extra three start as identity, trained"]
    measured = (
        f"three extra layers frozen at random: {random:.1f} % (one hidden layer: {one:.2f} %); frozen near the identity: "
        f"{identity:.2f} %; started near the identity and trained: {trained:.2f} %, against {four:.2f} % from random starts. "
        "An idle layer is harmless only if it passes on what it gets, and a random one does not"
    )
    return measured, verdict(random > one - 1, identity > one - 1.5)


def back_fast_front_frozen(results: Results) -> Judged:
    """Claim 3: back layers learn fast while front layers are as good as frozen."""
    data = results["share_of_progress"]["4"]
    share = np.median(np.asarray(data["share"]), 0)
    front = share[:, :2].sum(-1)
    moved = np.median(np.asarray(results["moved"]["4"]), 0)
    measured = (
        f"4 hidden layers: the first two make {percent(front[0], 3)} of the progress of the first step, {percent(front[1])} after one "
        f"epoch, {percent(front[-1])} at the end; the first layer's weights end {moved[0]:.1f} times their initial length away. "
        "At the end it is another picture than at the start"
    )
    return measured, verdict(front[0] < NEARLY_FROZEN and front[-1] < NEARLY_FROZEN, front[0] < NEARLY_FROZEN)


def second_layer_faster(results: Results) -> Judged:
    """Claim 4: at the start the second hidden layer's gradients are larger, neuron by neuron."""
    bars = np.abs(np.asarray(results["initial_bars"]["members"]))
    larger = float(np.mean(np.median(bars[:, 1], -1) > np.median(bars[:, 0], -1)))
    factor = float(np.median(bars[:, 1]) / np.median(bars[:, 0]))
    measured = f"typical |∂C/∂b| {factor:.1f} times larger in the second layer; larger in {percent(larger)} of {len(bars)} networks"
    return measured, verdict(larger == 1.0, larger > 0.5)


def initial_speeds(results: Results) -> Judged:
    """Claim 5: the printed learning speeds at the start."""
    inside, total, said = 0, 0, []
    for h in HIDDEN[1:]:
        speed = np.asarray(results["initial_speed"][str(h)]["speed"])
        low, median, high = np.quantile(speed, [0.025, 0.5, 0.975], axis=0)
        book = results["initial_speed"][str(h)]["book"]
        said.append("/".join(f"{m:.2g}" for m in median))
        if book:
            inside += int(np.sum((low <= book) & (book <= high)))
            total += len(book)
    n = len(np.asarray(results["initial_speed"]["1"]["speed"]))
    measured = f"medians of {n} networks: {'; '.join(said)} with 2, 3, 4 hidden layers"
    if not total:
        return f"{measured} (not MNIST: nothing to compare with)", "partly"
    return f"{measured}; {inside} of the text's {total} values lie in our 95 % bands", verdict(
        inside == total, inside > 0
    )


def five_to_ten(results: Results) -> Judged:
    """Claim 6: through training each layer learns 5 to 10 times faster than the one before."""
    said, inside = [], []
    for h in HIDDEN[1:]:
        speed = np.asarray(results["training_speed"][str(h)]["speed"])
        ratios = np.median(speed[:, :, 1:] / speed[:, :, :-1], axis=0)
        inside.append(np.mean((ratios >= 5) & (ratios <= 10)))
        said.append(f"{h} hidden: {np.median(ratios, 0).min():.1f} to {np.median(ratios, 0).max():.1f}")
    whole = np.asarray(results["training_speed"]["4"]["speed"])
    slowest = float(np.median(whole[:, :, 0] / whole[:, :, -1]))
    measured = (
        f"ratio of neighbouring layers, median through descent: {'; '.join(said)}; within 5 to 10 at "
        f"{percent(np.mean(inside))} of steps. The first of four layers learns at {percent(slowest, 1)} of the last one's speed"
    )
    return measured, verdict(min(inside) > 0.5, slowest < 0.02)


def not_convergence(results: Results) -> Judged:
    """Claim 7: a vanishing gradient is not convergence."""
    deep, shallow = results["convergence"]["deep"], results["convergence"]["shallow"]
    deep_speed = float(np.median(np.asarray(deep["speed"])[:, 0]))
    speeds = np.median(np.asarray(shallow["speed"])[:, :, 0], 0)
    epoch = int(np.argmin(np.abs(np.log(speeds / deep_speed))))
    accuracy = float(np.mean(np.asarray(shallow["accuracy"])[:, epoch]))
    fresh = float(np.mean(np.asarray(deep["accuracy"])))
    measured = (
        f"||δ¹|| = {deep_speed:.4f} in 4 hidden layers before training, at {percent(fresh)} right; the same in 1 hidden "
        f"layer after {epoch} epochs, at {percent(accuracy, 1)} right. The output layer tells them apart: "
        f"{np.median(np.asarray(deep['speed'])[:, -1]):.2g} against "
        f"{np.median(np.asarray(shallow['speed'])[:, epoch, -1]):.2g}"
    )
    return measured, verdict(accuracy > 0.9 and fresh < 0.3, accuracy > fresh)


def explosion(results: Results) -> Judged:
    """Claim 8: sometimes the front layers' gradient is far larger, and ends in NaN."""
    runs, centred = results["explosion"]["runs"], np.asarray(results["explosion"]["centred_speed"])
    relu = runs["ReLU, N(0, 1)"]
    speed, lost, members = np.asarray(relu["speed"]), len(relu["divergences"]), len(relu["speed"])
    measured = (
        f"ReLU with N(0, 1) weights: first layer {np.median(speed[:, 0] / speed[:, -1]):.0f} times faster than the last, "
        f"{lost} of {members} networks not finite within one pass over 2,000 images, {len(relu['dead'])} dead; "
        f"sigmoid with large weights and centred biases: {np.median(centred[:, 0] / centred[:, -1]):.0f} times, "
        f"in every one of {len(centred)} networks; sigmoid with N(0, 1): never"
    )
    return measured, verdict(lost > members / 2, lost > 0)


def product_of_factors(results: Results) -> Judged:
    """Claim 9: in a chain of neurons the gradient is the product of eq. 121."""
    shown, gradient = results["chain"]["shown"], results["chain"]["shown_gradient"]
    product = float(np.prod([factor["value"] for factor in shown]))
    measured = (
        f"the factors of a chain of {len(shown) // 2} neurons multiply to {number(product)}, backpropagation gives "
        f"{number(gradient)}. An identity; following a finite change of the bias (eq. 120) is right to first order only"
    )
    return measured, "yes" if np.isclose(product, gradient, rtol=1e-6, atol=0) else "no"


def factors_below_a_quarter(results: Results) -> Judged:
    """Claim 10: |w| < 1, so every factor is below 1/4 and the product shrinks exponentially."""
    small_weight = bounds.probability_below(1.0, "linear")
    small, large = bounds.probability_below(0.25), 1 - bounds.probability_below(1.0)
    medians = np.asarray(results["chain"]["first"])[:, 1]
    depth = np.asarray(results["chain"]["depth"])
    rate = float(np.exp(np.polyfit(depth, np.log(medians), 1)[0]))
    measured = (
        f"|w| < 1 for {percent(small_weight, 1)} of N(0, 1) weights; |w σ'| < 1/4 for {percent(small, 1)} of factors, >= 1 for "
        f"{1e6 * large:.0f} in a million; yet the product does shrink exponentially, by {rate:.2f} a layer in the median chain"
    )
    return measured, "partly"


def cross_entropy(results: Results) -> Judged:
    """Claim 11: the cross-entropy cures the slow-down of the output layer only."""
    said, same = [], []
    for name, costs in results["costs"].items():
        gains = {c: np.median(np.asarray(v)[:, 0] / np.asarray(v)[:, 3]) for c, v in costs.items()}
        faster = np.median(np.asarray(costs["cross-entropy"]) / np.asarray(costs["quadratic"]), axis=0)
        said.append(
            f"{name} initializer: output layer {faster[-1]:.1f} and first layer {faster[0]:.1f} times faster than with the "
            f"quadratic cost, first over last hidden layer {gains['cross-entropy']:.4f} against {gains['quadratic']:.4f}"
        )
        same.append(abs(gains["cross-entropy"] / gains["quadratic"] - 1) < CLOSE)
    return "; ".join(said) + ". All layers gain by one factor; what is lost between them stays lost", verdict(
        all(same), any(same)
    )


def full_networks(results: Results) -> Judged:
    """Claim 12: the repeated matrix product of eq. 124 is unstable in the same way."""
    gain = 1 / np.asarray(results["split"]["gain"])
    expected = 1 / meanfield.layer_gain("sigmoid", 1.0, 1.0)
    spread = np.quantile(gain[:, :-1], [0.025, 0.5, 0.975])
    measured = (
        f"each layer's gradient is {spread[1]:.2f} times smaller than the next one's (95 %: {spread[0]:.1f} to "
        f"{spread[2]:.1f}); mean-field theory of the matrix product says {expected:.2f}"
    )
    near = abs(spread[1] / expected - 1)
    return measured, verdict(near < CLOSE, near < 2 * CLOSE)


def other_obstacles(results: Results) -> Judged:
    """Claim 13: activation, initialisation and momentum matter too."""
    he = results["explosion"]["runs"]["ReLU, He"]
    speed = np.asarray(he["speed"])
    measured = (
        f"activation and initialisation are touched here by one control, momentum not at all: ReLU with He's initialisation starts with layers equally fast (first over last "
        f"{np.median(speed[:, 0] / speed[:, -1]):.1f}) and stays finite in all {len(speed)} networks"
    )
    return measured, "partly" if not he["divergences"] else "no"


CLAIMS = [
    Claim(
        "Adding hidden layers of 30 first helps (1 to 2) and then hurts (2 to 3 to 4): 96.48, 96.90, 96.57, 96.53 %.",
        deeper_hurts,
    ),
    Claim("Even if an added middle layer learned nothing, it should not hurt.", idle_layer),
    Claim(
        "The back layers learn fast while the front layers are as good as frozen, or the reverse.",
        back_fast_front_frozen,
    ),
    Claim("At the start the gradients in the second hidden layer are larger, neuron by neuron.", second_layer_faster),
    Claim("||δ|| = .07, .31 with two hidden layers; .012, .060, .283 with three.", initial_speeds),
    Claim(
        "Through training each layer learns 5 to 10 times faster than the one before; the first as slowly as 1 % of the last.",
        five_to_ten,
    ),
    Claim("A vanishing gradient is not convergence.", not_convergence),
    Claim("Sometimes the front layers' gradient is instead far larger and ends in NaN.", explosion),
    Claim(
        "In a chain of neurons ∂C/∂b₁ is a product with a factor w σ' for each layer (eq. 120, 121).",
        product_of_factors,
    ),
    Claim(
        "|w| < 1 and σ' <= 1/4, so each factor is under 1/4 and the product shrinks exponentially.",
        factors_below_a_quarter,
    ),
    Claim("The cross-entropy cures the slow-down of the output layer only.", cross_entropy),
    Claim("In full networks the repeated matrix product (eq. 124) is unstable in the same way.", full_networks),
    Claim("Other obstacles: the activation, the initialisation, momentum.", other_obstacles),
]
"""The text's claims in our words, each with the rule that judges it."""

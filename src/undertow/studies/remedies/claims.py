"""The claims about the remedies, and the rules that judge it by the results in hand."""

import numpy as np

from undertow.formatting import listed, percent
from undertow.pytorch_code import spelled
from undertow.studies.remedies.config import TRAINS
from undertow.studies.remedies.table import AXES, best_accuracy, deepest, gradient_decades, index, main_effect
from undertow.studies.study import Claim, Judged, Results, verdict

DEEP = 20
"""Hidden layers from which a network is called deep here."""

FADED = 4.0
"""Decades from the last hidden layer to the first."""


def share_trained(results: Results, architecture: str, from_depth: int = 1) -> float:
    """Return the share of all combinations with an architecture, of so many hidden layers or more, that train."""
    accuracy = _of(results, architecture)[:, :, _deep(results, from_depth)]
    return float(np.mean(accuracy >= TRAINS))


def sigmoid_stays_shallow(results: Results) -> Judged:
    """Plain sigmoid networks don't train deep, whatever the start and the optimizer."""
    [a], [h] = index(results, "activation", "sigmoid"), index(results, "architecture", "plain")
    depth = deepest(results)[a, h]
    limit = int(depth.max())
    measured = f"the deepest that train, over all starts and optimizers: {limit} hidden layers; from the book's start {int(depth[:, 0].max())}"
    return measured, verdict(limit < 10, limit < DEEP)


def right_start_helps(results: Results) -> Judged:
    """The critical start trains plain networks deeper than the book's."""
    [h] = index(results, "architecture", "plain")
    depth, said, better = deepest(results)[:, h].max(1), [], []
    [book], [critical] = index(results, "start", "book"), index(results, "start", "critical")
    for a, name in enumerate(results["factors"]["activation"]):
        said.append(f"{spelled(name)} {int(depth[a, critical])} against {int(depth[a, book])}")
        better.append(depth[a, critical] > depth[a, book])
    return f"deepest that train, critical against the book's: {'; '.join(said)}", verdict(all(better), sum(better) >= 2)


def norm_forgives_the_start(results: Results) -> Judged:
    """With BatchNorm it matters less how a network starts."""
    spread = {h: float(_of(results, h).std(-1).mean()) for h in ("plain", "BatchNorm", "LayerNorm")}
    measured = f"standard deviation of the accuracy over the five starts, on average: {', '.join(f'{h} {s:.3f}' for h, s in spread.items())}"
    return measured, verdict(spread["BatchNorm"] < 0.5 * spread["plain"], spread["BatchNorm"] < spread["plain"])


def residual_goes_deep(results: Results) -> Judged:
    """Residual connections train networks at depths where plain ones don't."""
    share = {h: share_trained(results, h, DEEP) for h in ("plain", "residual")}
    measured = f"of the combinations with {DEEP} hidden layers and more, {percent(share['plain'])} of the plain train and {percent(share['residual'])} of the residual"
    return measured, verdict(share["residual"] > share["plain"] + 0.25, share["residual"] > share["plain"])


def both_train_everything(results: Results) -> Judged:
    """With residual connections and a norm together nearly everything trains, at any depth."""
    share = {h: share_trained(results, h, DEEP) for h in results["factors"]["architecture"]}
    measured = (
        f"share that trains from {DEEP} hidden layers on: {', '.join(f'{h} {percent(s)}' for h, s in share.items())}"
    )
    best = max(share, key=lambda h: share[h])
    return measured, verdict(share["residual + norm"] > 0.95, best == "residual + norm")


def optimizer_matters_least(results: Results) -> Judged:
    """Judge that what stands between the layers matters more than the optimizer."""
    reach = {f: np.ptp(list(main_effect(results, f).values())) for f in AXES}
    order = sorted(reach, key=lambda f: -reach[f])
    measured = (
        f"range of the mean accuracy over a factor's levels: {', '.join(f'{f} {percent(reach[f])}' for f in order)}"
    )
    return measured, verdict(reach["architecture"] > 2 * reach["optimizer"], reach["architecture"] > reach["optimizer"])


def gradient_tells(results: Results) -> Judged:
    """Plain networks whose gradient has faded before training don't train."""
    (faded, few), (level, many) = faded_and_level(results)
    measured = (
        f"{percent(few)} of {faded} plain networks that lose more than {FADED:g} decades from last to first layer train with "
        f"their best optimizer, and {percent(many)} of {level} within one decade"
    )
    return measured, verdict(few == 0 and many > 0.9, few < 0.5 * many)


def faded_and_level(results: Results) -> tuple[tuple[int, float], tuple[int, float]]:
    """Plain networks whose gradient has faded before training, and those in which it hasn't: how many, what share trains."""
    [h] = index(results, "architecture", "plain")
    decades, accuracy = gradient_decades(results)[:, h], best_accuracy(results)[:, h].max(1)
    groups = decades < -FADED, np.abs(decades) < 1
    faded, level = ((int(g.sum()), float(np.mean(accuracy[g] >= TRAINS)) if g.any() else np.nan) for g in groups)
    return faded, level


def batch_norm_explodes(results: Results) -> Judged:
    """BatchNorm without residual connections makes gradients explode with depth."""
    h = index(results, "architecture", "BatchNorm", "LayerNorm")
    depth = results["factors"]["depth"][-1]
    found = [np.nanmedian(gradient_decades(results)[:, each, -1], -1) for each in h]
    measured = (
        f"decades from the last hidden layer to the first at {depth} hidden layers, {', '.join(map(spelled, results['factors']['activation']))}: "
        f"BatchNorm {listed(found[0])}; LayerNorm {listed(found[1])}"
    )
    return measured, verdict(bool((found[0] > 1).all()), bool((found[0] > 0).sum() > len(found[0]) / 2))


def _of(results: Results, architecture: str) -> np.ndarray:
    """Best accuracies of an architecture, [activations, optimizers, depths, starts]."""
    [h] = index(results, "architecture", architecture)
    return best_accuracy(results)[:, h]


def _deep(results: Results, depth: int) -> list[int]:
    return [k for k, each in enumerate(results["factors"]["depth"]) if each >= depth]


CLAIMS = [
    Claim(
        "Plain sigmoid networks train only where they are shallow, whatever the start and the optimizer.",
        sigmoid_stays_shallow,
    ),
    Claim(
        "A start at the edge between vanishing and exploding trains plain networks deeper than the book's (Schoenholz et al. 2017).",
        right_start_helps,
    ),
    Claim("With BatchNorm the start matters less (Ioffe and Szegedy 2015).", norm_forgives_the_start),
    Claim("Residual connections train networks at depths where plain ones don't (He et al. 2016).", residual_goes_deep),
    Claim(
        "With residual connections and a norm together, nearly everything trains at any depth.", both_train_everything
    ),
    Claim("What stands between the layers matters more than the optimizer.", optimizer_matters_least),
    Claim("A plain network whose gradient has faded by four decades before training doesn't train.", gradient_tells),
    Claim(
        "BatchNorm without residual connections lets the gradient explode with depth (Yang et al. 2019).",
        batch_norm_explodes,
    ),
]
"""From the literature on each remedy, in the order in which the page comes to them."""

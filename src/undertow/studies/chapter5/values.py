"""Numbers that the sentences of the chapter's page quote."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from undertow.formatting import percent
from undertow.studies.chapter5.claims import final_accuracy
from undertow.studies.chapter5.config import HIDDEN
from undertow.studies.statistics import between_and_within
from undertow.studies.study import Results
from undertow.theory import bounds, meanfield

Array = NDArray[np.float64]

widest_interval, probability_below = bounds.widest_interval, bounds.probability_below


def speeds(results: Results, hidden: str) -> Array:
    """Return the learning speeds before training, [networks, hidden layers]."""
    return np.asarray(results["initial_speed"][hidden]["speed"])


def faded(results: Results) -> float:
    """Return how many times less of the gradient the first of four hidden layers gets than the last."""
    four = speeds(results, "4")
    return float(np.median(four[:, -1] / four[:, 0]))


def final_means(results: Results) -> list[str]:
    """Return the mean accuracy of every depth, in per cent."""
    return [f"{final_accuracy(results, h).mean():.2f}" for h in HIDDEN]


def best_depth(results: Results) -> int:
    """Return the depth whose mean accuracy is best."""
    return HIDDEN[int(np.argmax([final_accuracy(results, h).mean() for h in HIDDEN]))]


def front_share(results: Results) -> Array:
    """Return the first two of four hidden layers' share of progress, the median over networks, [epochs]."""
    share = np.median(np.asarray(results["share_of_progress"]["4"]["share"]), 0)
    return np.asarray(share[:, :2].sum(-1))


def depth_or_luck(results: Results) -> float | None:
    """Return p of the hypothesis that the depths' accuracies don't differ; None for too few networks."""
    p = between_and_within([final_accuracy(results, h) for h in HIDDEN])
    return p if np.isfinite(p) else None


def always_in_order(results: Results) -> bool:
    """Return whether an earlier layer learns more slowly in every single network."""
    return all((np.diff(speeds(results, str(h)), axis=1) > 0).all() for h in HIDDEN[1:])


def cost_of_a_layer(results: Results) -> Array:
    """Return the factor that a layer takes of the gradient: 2.5th percentile, median, 97.5th percentile."""
    four = speeds(results, "4")
    return np.quantile(four[:, 1:] / four[:, :-1], [0.025, 0.5, 0.975])


def expected_cost() -> float:
    """Return the factor that mean-field theory expects a layer to take."""
    return float(1 / meanfield.layer_gain("sigmoid", weight_var=1.0, bias_var=1.0))


def classified(results: Results) -> list[str]:
    """Return the range of the share of training images right after descent, by depth."""
    accuracy = [np.asarray(results["training_speed"][str(h)]["accuracy"]) for h in HIDDEN]
    return [f"{percent(a.min())} to {percent(a.max())}" for a in accuracy]


def last_over_first(results: Results, key: str) -> float:
    """Return how many times faster the last of four hidden layers ends than the first."""
    speed = np.asarray(results["training_speed"]["4"][key])[:, -1]
    return float(np.median(speed[:, -1] / speed[:, 0]))


def points_lost(results: Results) -> Array:
    """Return the points of accuracy that each layer of four costs when it is put back."""
    return 100 * np.asarray(results["reset"]["4"]["accuracy_lost"]).mean(0)


def control_mean(results: Results, control: str) -> float:
    """Return the mean accuracy of a control of the puzzle, in per cent."""
    return float(100 * np.asarray(results["controls"][control])[:, -1].mean())


def alike_epoch(results: Results) -> dict[str, float]:
    """Compare the untrained deep network with the shallow one when their first layers' gradients agree."""
    shallow, deep = results["convergence"]["shallow"], results["convergence"]["deep"]
    first, last = (float(np.median(np.asarray(deep["speed"])[:, k])) for k in (0, -1))
    speed = np.median(np.asarray(shallow["speed"]), 0)
    epoch = int(np.argmin(np.abs(np.log(speed[:, 0] / first))))
    return {
        "epoch": epoch,
        "first": first,
        "last": last,
        "shallow_last": float(speed[epoch, -1]),
        "right": float(np.mean(np.asarray(shallow["accuracy"])[:, epoch])),
        "fresh": float(np.mean(np.asarray(deep["accuracy"]))),
        "coherence": float(np.median(np.asarray(shallow["coherence"])[:, epoch])),
        "fresh_coherence": float(np.median(np.asarray(deep["coherence"]))),
    }


def faster_with_cross_entropy(results: Results, initializer: str) -> Array:
    """Return how many times faster each layer learns at the start than with the quadratic cost."""
    costs = results["costs"][initializer]
    return np.median(np.asarray(costs["cross-entropy"]) / np.asarray(costs["quadratic"]), axis=0)


def mean_factor(results: Results, *names: str) -> float:
    """Return the product of factors of the gain, averaged over the layers but the last; medians over networks."""
    product = np.prod([np.median(np.asarray(results["split"][name]), 0) for name in names], axis=0)
    return float(np.mean(product[:-1]))


def networks_on_the_map(results: Results) -> int:
    """Return how many networks were trained on the map of starts."""
    return sum(np.size(accuracy) for accuracy in results["trainability"]["accuracy"].values())


def disturbed_chain(results: Results) -> Array:
    """Return each neuron's gradient in the exploding chain with noise on its biases, the median over chains."""
    return np.median(np.asarray(results["chain"]["explosive"]["disturbed"]), axis=1)


def centred_falling(results: Results) -> float:
    """Return the share of centred networks in which the speed falls from layer to layer."""
    return float((np.diff(np.asarray(results["explosion"]["centred_speed"]), axis=1) < 0).all(1).mean())


def first_falls(results: Results) -> list[str]:
    """Return where each lost ReLU network met its first number that is not finite."""
    return [
        f"layer {d['layer']}, {'on the way forward' if d['equation'] == 'forward' else d['equation']}"
        for d in results["explosion"]["runs"]["ReLU, N(0, 1)"]["divergences"]
    ]


def commonest(values: Sequence[str]) -> str:
    """Return what occurs most often."""
    return max(set(values), key=values.count)

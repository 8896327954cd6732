"""See and change what stands behind the last layer of a model."""

from torch import nn

from undertow.remedies.anatomy import Anatomy, Part, anatomy, fresh
from undertow.remedies.rewiring import last_weight
from undertow.training import Training

SQUASHING_NAMES = frozenset({"softmax", "log_softmax", "sigmoid", "logsigmoid", "sigmoid_"})


BOUNDING = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.Softplus, nn.Softmax, nn.LeakyReLU)


SQUASHING = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.LogSigmoid)


BOUNDING_NAMES = frozenset(
    {"relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "relu6", "hardtanh", "softplus", "clamp", "softmax"}
)


def head_of(training: Training) -> str:
    """Return the path of the last layer that a training's model calls, or of its weight where no module holds it.

    Raises:
        ValueError: it calls no linear layer and no convolution.
    """
    model = fresh(training)
    head = path_of_head(anatomy(model, training), model, training)
    if not head:
        raise ValueError("the model has no linear layer or convolution that could be its head")
    return head


def path_of_head(seen: Anatomy, model: nn.Module, training: Training) -> str:
    """Return the same for a model whose anatomy is known; empty where nothing could be its head."""
    return seen.head.name if seen.head else last_weight(model, training)


def identity_lines(training: Training, kinds: tuple[type[nn.Module], ...]) -> str:
    """Return the lines that take a module off the end of a model; empty where a function stands there."""
    behind = behind_head(anatomy(fresh(training), training), kinds)
    if not behind:
        return ""
    parent, _, child = behind[0].name.rpartition(".")
    return (
        f"setattr(model.get_submodule({parent!r}), {child!r}, nn.Identity())  # the {type(behind[0].module).__name__}"
    )


def behind_head(seen: Anatomy, kinds: tuple[type[nn.Module], ...]) -> list[Part]:
    """Return modules of some kinds that are called behind the last layer."""
    return [part for part in seen.after(seen.head) if isinstance(part.module, kinds)] if seen.head else []

"""Lines against inf and nan: the numbers stay finite where they are pasted."""

import pytest
import torch

from undertow.rules.nonfinite_advice import lines_for


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


ALIKE = torch.ones(2, 3)


AT_THE_EDGE = {
    "sqrt": {"x": leaf(0.0)},
    "rsqrt": {"x": leaf(0.0)},
    "linalg_vector_norm": {"x": torch.zeros(2, 3, requires_grad=True)},
    "std": {"x": ALIKE.clone().requires_grad_()},
    "cdist": {"a": ALIKE.clone().requires_grad_(), "b": ALIKE},
    "div": {"x": leaf(1.0), "y": leaf(0.0)},
    "reciprocal": {"x": leaf(0.0)},
    "log": {"x": leaf(0.0)},
    "exp": {"x": leaf(1000.0, 1000.0)},
    "pow": {"x": leaf(0.0), "p": 0.5},
    "acos": {"x": leaf(1.0)},
    "asin": {"x": leaf(-1.0)},
    "softmax": {"scores": torch.full((1, 3), -torch.inf, requires_grad=True)},
    "mm": {"x": (300 * torch.ones(2, 4)).half().requires_grad_(), "w": (300 * torch.ones(4, 2)).half()},
}
"""For every operation that makes inf or nan what it makes them of, in its value or its derivative."""


FINITE_AT_FIRST = ("linalg_vector_norm", "std", "cdist")
"""Operations whose first derivative torch takes for 0 there; in a second one, as of a gradient penalty, it is nan."""


def finite(line, names):
    """Whether a line's result and the gradient through it are finite."""
    left = {name: each.detach().clone().requires_grad_(each.requires_grad) for name, each in names.items()
            if isinstance(each, torch.Tensor)}  # fmt: skip
    given = {**names, **left, "torch": torch}
    exec(line, given)  # noqa: S102  # it is what the test is about
    out = given[line.partition(" = ")[0]]
    out.float().sum().backward()
    # -inf is a constant of the mask, whose own gradient nobody takes.
    grads = [each.grad for name, each in left.items() if each.grad is not None and name != "scores"]
    return all(bool(torch.isfinite(each).all()) for each in (out, *grads))


@pytest.mark.parametrize("op", AT_THE_EDGE)
def test_lines_against_inf_and_nan_keep_numbers_finite(op):
    (before,), (after,) = lines_for(op)
    assert finite(before, AT_THE_EDGE[op]) is (op in FINITE_AT_FIRST)
    assert finite(after, AT_THE_EDGE[op])


def test_the_line_for_targets_that_are_too_long_keeps_the_loss_finite():
    (before,), (after,) = lines_for("_ctc_loss")
    given = {
        "log_probs": torch.zeros(2, 1, 5, requires_grad=True).log_softmax(2), "targets": torch.tensor([[1, 1, 2]]),
        "input_lengths": torch.tensor([2]), "target_lengths": torch.tensor([3]), "torch": torch,
    }  # fmt: skip
    for line, holds in ((before, False), (after, True)):
        exec(line, given)  # noqa: S102
        assert bool(torch.isfinite(given["loss"])) is holds

"""UR4xx, level D: masks and numbers that a loss takes for their opposite."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import fresh
from undertow.remedies.facts import known_facts
from undertow.remedies.loss_inputs import RATES, looked_at
from undertow.remedies.misplaced import is_mask, rates_mistaken, target_of
from undertow.remedies.outside import OutsideModel
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import ReplacingLoss
from undertow.training import Training

MASKING = frozenset({"mul", "__mul__", "__rmul__", "sum", "__getitem__"})
"""Functions that take a mask: those that multiply by it, count it, or choose by it."""


@remedy("UR432", "the steps that a loss leaves out, and not the others", "D", ["UT704"])
def turned(training: Training) -> Training:
    """Turn masks of steps or pixels round that a loss multiplies by, counts, or chooses by.

    What it changes:
        Outside of the model, tensors of zeros and ones, or of yes and no, that say something of each step or pixel and
        aren't the targets: in products, sums and as an index. Masks of examples, or of a graph's nodes, stay.
    When:
        A mask says which steps are padding and is taken for those that count: the loss falls to nothing, and says
        nothing of what there is to learn.
    Predicts:
        The loss is that of the steps that were left out.
    References:
        Vaswani et al. 2017, section 5.4, on what counts; PyTorch documentation, masked_select.
    """
    if not looked_at(fresh(training), training).masks:
        raise ValueError("the loss has no masks of steps or pixels")
    return replace(training, loss=_Turned(training.loss))


@dataclass(frozen=True)
class _Turned:
    loss: Any

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        with _Turning(model, target_of(batch)):
            made: Tensor = self.loss(model, batch)
            return made


class _Turning(OutsideModel):
    def __init__(self, model: nn.Module, target: Tensor | None) -> None:
        super().__init__(model)
        self._target = target

    def changed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments, masks turned round."""
        if name not in MASKING:
            return args
        return [self._other(each) if is_mask(each, self._target) else each for each in args]

    @staticmethod
    def _other(mask: Tensor) -> Tensor:
        return mask == 0 if not mask.is_floating_point() else 1 - mask


@turned.proposes
def _proposed_turn(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("loss", {}).get("masks"):
        yield Proposal({}, "the loss takes a mask; it may say what is to be left out", 0.6)


@turned.written
def _turn_lines() -> str:
    return "# in the loss: mask = ~mask, or 1 - mask"


@remedy("UR433", "rates, or their logarithms, as the loss takes them", "D", ["UT103", "UT405", "UT704"])
def rates(training: Training) -> Training:
    """Tell a likelihood of counts whether it is given rates or their logarithms.

    What it changes:
        ``log_input`` of ``poisson_nll_loss``: False where all outputs are above 0, True where some aren't.
    When:
        A model ends with a softplus or an exponential, so that it returns rates, and the loss takes its input for
        logarithms unless told otherwise; or the other way round.
    Predicts:
        What the model returns is the rate that counts have in the mean.
    References:
        PyTorch documentation, PoissonNLLLoss: "log_input".
    """
    return ReplacingLoss.around(training, {RATES: _as_rates})


def _as_rates(func: Any, made: Tensor, target: Tensor, *rest: Any, **named: Any) -> Any:
    if not rates_mistaken([made, target, *rest], named):
        return func(made, target, *rest, **named)
    given = {name: value for name, value in named.items() if name != "log_input"}
    return func(made, target, bool((made <= 0).any()), *rest[1:], **given)


@rates.proposes
def _proposed_rates(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("loss", {}).get("mistaken"):
        yield Proposal({}, "the sign of the outputs says that they are no logarithms of rates, or nothing else", 0.85)


@rates.written
def _rates_lines() -> str:
    return "# in the loss: F.poisson_nll_loss(..., log_input=False) of rates, log_input=True of their logarithms"

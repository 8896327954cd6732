"""UR3xx, level C: axes that were taken for others."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import fresh
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import Replacement, ReplacingLoss
from undertow.remedies.reshaping import RESHAPES, meant_order, wanted_sizes
from undertow.remedies.rewiring import rewire
from undertow.remedies.survey import surveyed
from undertow.training import Training


@remedy("UR312", "batch and time in their places", "C", ["UT506", "UT107", "UT704"])
def batch_first(training: Training) -> Training:
    """Let recurrent and attention modules take the batch from the axis where it is.

    What it changes:
        ``batch_first`` of every ``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` and ``nn.MultiheadAttention`` that is given the
        batch where it expects time.
    When:
        Examples are taken for the steps of one sequence: the modules expect time first unless told otherwise.
    Predicts:
        The output for one example no longer depends on others.
    References:
        PyTorch documentation, nn.LSTM: "batch_first: if True, then the input and output tensors are provided as
        (batch, seq, feature)".
    """
    names = surveyed(fresh(training), training).turned
    if not names:
        raise ValueError("no recurrent or attention module is given the batch where it expects time")
    return on_model(training, partial(_turn, names=names))


def _turn(model: nn.Module, names: list[str]) -> None:
    for name in names:
        module: Any = model.get_submodule(name)
        module.batch_first = not module.batch_first


@batch_first.proposes
def _proposed_turn(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if turned := known_facts(diagnosis).get("survey", {}).get("turned"):
        yield Proposal({}, f"{', '.join(turned[:3])} is given the batch where it expects time", 0.95)


@batch_first.written
def _turn_lines() -> str:
    return _turn_loop("[]  # names of the recurrent and attention modules")


@batch_first.written_for
def _turn_lines_for(training: Training) -> str:
    return _turn_loop(str(surveyed(fresh(training), training).turned))


def _turn_loop(names: str) -> str:
    return (
        f"for name in {names}:\n    module = model.get_submodule(name)\n    module.batch_first = not module.batch_first"
    )


@remedy("UR313", "axes exchanged by a transpose, not by a reshape", "C", ["UT506", "UT704"])
def transposed(training: Training) -> Training:
    """Exchange axes where a reshape or a view cuts numbers that don't belong together.

    What it changes:
        Calls of ``reshape`` and ``view`` whose result has the same sizes in another order exchange the axes instead;
        those that flatten [layers, examples, features] to rows of examples, or [examples, classes, steps] to rows of
        classes, do so first.
    When:
        Batch and time, or time and features, are to change places, and ``view`` cuts the numbers into other pieces,
        in the order in which they lie.
    Predicts:
        The output for one example no longer depends on others.
    References:
        Karpathy 2019 (A recipe for training neural networks: "backprop to chart dependencies").
    """
    if not surveyed(fresh(training), training).exchanged:
        raise ValueError("no reshape exchanges sizes of axes, or flattens axes that lie in another order")
    changed = on_model(training, partial(rewire, rewiring=Replacement(_EXCHANGED)))
    return ReplacingLoss.around(changed, _EXCHANGED)


def _exchanged(func: Any, x: Tensor, *sizes: Any, **named: Any) -> Any:
    order = meant_order(x, sizes, named)
    return func(x, *sizes, **named) if order is None else x.permute(order).reshape(wanted_sizes(x, sizes, named) or [])


_EXCHANGED = dict.fromkeys(sorted(RESHAPES), _exchanged)


@transposed.proposes
def _proposed_transpose(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("survey", {}).get("exchanged"):
        yield Proposal({}, "a reshape cuts numbers that don't belong together: axes lie in another order", 0.95)


@transposed.written
def _transpose_lines() -> str:
    return "# in place of, or in front of, the reshape or view: x.transpose(0, 1), with the axes that are meant"

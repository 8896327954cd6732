"""UR2xx, level B: recurrent weights and gates that keep a state."""

import math
from collections.abc import Iterable, Iterator
from functools import partial

from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import RECURRENT
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

FORGET = 3.0
LONG = 40
"""Steps from which on a state must be kept for longer than with that bias (Tallec, Ollivier 2018)."""


@remedy("UR206", "orthogonal recurrent weights", "B", ["UT107", "UT101"])
def rnn_orthogonal(training: Training) -> Training:
    """Make the matrix that takes a state to the next one orthogonal, gate by gate.

    What it changes:
        ``weight_hh`` of RNN, GRU and LSTM modules and cells; their biases stay.
    When:
        The gradient fades through time because of the recurrent weights.
    Predicts:
        PyTorch's own start multiplies a state's gradient by about 0.58 a step; orthogonal weights by 1, times the
        activation's slope.
    References:
        Saxe et al. 2014; Henaff, Szlam, LeCun 2016.
    """
    return on_model(training, _orthogonal_recurrence)


def _orthogonal_recurrence(model: nn.Module) -> None:
    for weight in _recurrent_weights(model):
        for gate in weight.data.split(weight.shape[1]):
            nn.init.orthogonal_(gate)


def _recurrent_weights(model: nn.Module) -> Iterable[Tensor]:
    for module in model.modules():
        if isinstance(module, RECURRENT):
            for name, parameter in module.named_parameters(recurse=False):
                if name.startswith("weight_hh") and parameter.shape[0] % parameter.shape[1] == 0:
                    yield parameter


@rnn_orthogonal.proposes
def _proposed_recurrence(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    if diagnosis.recurrent and (codes & {"UT107", "UT101", "UT704", "UT104"} or unlearned(diagnosis)):
        yield Proposal({}, "the gradient fades through time", 0.7)


@rnn_orthogonal.written
def _recurrence_lines() -> str:
    return (
        "for name, weight in model.named_parameters():\n"
        '    if "weight_hh" in name:\n'
        "        for gate in weight.data.split(weight.shape[1]):\n"
        "            nn.init.orthogonal_(gate)"
    )


@remedy("UR207", "an LSTM that remembers to begin with", "B", ["UT107"])
def forget_bias(training: Training, bias: float = FORGET) -> Training:
    """Set the bias of an LSTM's forget gate, or of a GRU's update gate, so that states are kept.

    What it changes:
        The gate's slice of ``bias_ih``; that of ``bias_hh`` becomes zero, as PyTorch adds both.
    When:
        An LSTM or GRU forgets what is far back.
    Predicts:
        A step keeps sigma(bias) of the state: 0.5 at 0, 0.73 at 1, 0.95 at 3.
    References:
        Gers, Schmidhuber, Cummins 2000; Jozefowicz, Zaremba, Sutskever 2015; Tallec, Ollivier 2018.
    """
    return on_model(training, partial(remember, bias=bias))


def remember(model: nn.Module, bias: float) -> None:
    """Set the bias of the gates that keep a state."""
    for module in model.modules():
        if isinstance(module, nn.LSTM | nn.LSTMCell | nn.GRU | nn.GRUCell):
            gate = slice(module.hidden_size, 2 * module.hidden_size)  # forget in an LSTM, update in a GRU
            for name, parameter in module.named_parameters(recurse=False):
                if name.startswith("bias"):
                    parameter.data[gate] = bias if "_ih" in name else 0.0


@forget_bias.proposes
def _proposed_memory(diagnosis: Diagnosis) -> Iterator[Proposal]:
    gated = any(site.module_type in ("LSTM", "LSTMCell", "GRU", "GRUCell") for site in diagnosis.run.sites)
    codes = {finding.code for finding in diagnosis.findings}
    if gated and (codes & {"UT107", "UT704", "UT101"} or unlearned(diagnosis)):
        yield Proposal({"bias": FORGET}, "its gates forget what is far back", 0.75)
        length = int(known_facts(diagnosis).get("survey", {}).get("length", 0))
        if length > LONG:
            chrono = round(math.log(length - 1), 1)
            yield Proposal(
                {"bias": chrono}, f"sequences have {length} steps: so large a bias keeps a state as long", 0.7
            )


@forget_bias.written
def _memory_lines(bias: float = FORGET) -> str:
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.LSTM, nn.LSTMCell, nn.GRU, nn.GRUCell)):\n"
        "        for name, parameter in module.named_parameters(recurse=False):\n"
        '            if name.startswith("bias"):\n'
        "                gate = slice(module.hidden_size, 2 * module.hidden_size)\n"
        f'                parameter.data[gate] = {bias:g} if "_ih" in name else 0.0'
    )

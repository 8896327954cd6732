"""UR3xx, level C: another recurrence."""

from collections.abc import Iterator
from functools import partial

from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import put_in_place
from undertow.remedies.anatomy import replace_module
from undertow.remedies.changing import on_model
from undertow.remedies.facts import unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.ur2_memory import FORGET, remember
from undertow.training import Training


@remedy("UR306", "a recurrence that keeps its state to begin with (IRNN)", "C", ["UT107", "UT101"])
def irnn(training: Training) -> Training:
    """Let a plain RNN start as the identity with ReLU.

    What it changes:
        ``nonlinearity`` of ``nn.RNN`` to "relu", the recurrent weights to the identity, the biases to zero.
    When:
        The gradient fades through time in a plain RNN.
    Predicts:
        Every step passes the whole gradient on, where units are positive.
    References:
        Le, Jaitly, Hinton 2015.
    """
    return on_model(training, _irnn)


def _irnn(model: nn.Module) -> None:
    found = [m for m in model.modules() if type(m) is nn.RNN]
    if not found:
        raise ValueError("the model has no nn.RNN")
    for rnn in found:
        rnn.nonlinearity, rnn.mode = "relu", "RNN_RELU"
        for name, parameter in rnn.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.eye_(parameter)
            elif name.startswith("weight_ih"):
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.zeros_(parameter)


@irnn.proposes
def _proposed_irnn(diagnosis: Diagnosis) -> Iterator[Proposal]:
    yield from _for_plain_rnn(diagnosis, "its steps shrink the gradient", 0.6)


def _for_plain_rnn(diagnosis: Diagnosis, reason: str, urgency: float) -> Iterator[Proposal]:
    plain = any(site.module_type == "RNN" for site in diagnosis.run.sites)
    codes = {finding.code for finding in diagnosis.findings}
    if plain and (codes & {"UT107", "UT101", "UT704", "UT104"} or unlearned(diagnosis)):
        yield Proposal({}, reason, urgency)


@irnn.written
def _irnn_lines() -> str:
    return (
        "for rnn in [module for module in model.modules() if type(module) is nn.RNN]:\n"
        '    rnn.nonlinearity, rnn.mode = "relu", "RNN_RELU"\n'
        "    for name, parameter in rnn.named_parameters():\n"
        '        if name.startswith("weight_hh"):\n'
        "            nn.init.eye_(parameter)\n"
        '        elif name.startswith("weight_ih"):\n'
        "            nn.init.normal_(parameter, std=0.01)\n"
        "        else:\n"
        "            nn.init.zeros_(parameter)"
    )


@remedy("UR307", "a GRU that remembers in place of a plain RNN", "C", ["UT107", "UT101"])
def gated(training: Training, bias: float = FORGET) -> Training:
    """Put a GRU whose update gates start open in the place of every plain RNN.

    What it changes:
        Every ``nn.RNN`` becomes an ``nn.GRU`` of the same sizes, with the update gate's bias set.
    When:
        A plain RNN can't carry anything over many steps. A GRU as PyTorch makes it can't either: the bias matters.
    Predicts:
        A step keeps sigma(bias) of the state: 0.95 at 3.
    References:
        Cho et al. 2014; Jozefowicz, Zaremba, Sutskever 2015.
    """
    return on_model(training, partial(_gated, bias=bias))


def _gated(model: nn.Module, bias: float) -> None:
    found = [(name, m) for name, m in model.named_modules() if type(m) is nn.RNN]
    if not found or any(not name for name, _ in found):
        raise ValueError("the model has no nn.RNN inside it")
    for name, rnn in found:
        weight = next(rnn.parameters())
        gru = nn.GRU(
            rnn.input_size, rnn.hidden_size, rnn.num_layers, rnn.bias, rnn.batch_first, rnn.dropout, rnn.bidirectional,
            device=weight.device, dtype=weight.dtype,
        )  # fmt: skip
        remember(gru, bias)
        replace_module(model, name, gru)


@gated.proposes
def _proposed_gates(diagnosis: Diagnosis) -> Iterator[Proposal]:
    for each in _for_plain_rnn(diagnosis, "a plain RNN forgets within a few steps", 0.55):
        yield each._replace(settings={"bias": FORGET})


@gated.written
def _gated_lines(bias: float = FORGET) -> str:
    return (
        "for name, rnn in [(n, m) for n, m in model.named_modules() if type(m) is nn.RNN]:\n"
        "    sizes = (rnn.input_size, rnn.hidden_size, rnn.num_layers, rnn.bias, rnn.batch_first, rnn.dropout)\n"
        "    gru = nn.GRU(*sizes, rnn.bidirectional)\n"
        "    for key, parameter in gru.named_parameters():\n"
        '        if key.startswith("bias"):\n'
        "            gate = slice(gru.hidden_size, 2 * gru.hidden_size)\n"
        f'            parameter.data[gate] = {bias:g} if "_ih" in key else 0.0\n'
    ) + "\n".join(put_in_place("gru"))

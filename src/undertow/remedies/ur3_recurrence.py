"""UR3xx, level C: another recurrence."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import put_in_place
from undertow.remedies.anatomy import fresh, replace_module
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.loss_inputs import States, looked_at
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import rewire
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


@remedy("UR321", "the last state of a recurrence, not its first", "C", ["UT107", "UT704"])
def last_state(training: Training) -> Training:
    """Read a recurrence where it has seen the whole sequence.

    What it changes:
        ``states[:, 0]`` of what a recurrence that reads forwards has returned becomes ``states[:, -1]``, in the model.
    When:
        A recurrence is read at its first step, as one reads a transformer at its first token: all that it knows there
        is the first input.
    Predicts:
        The output depends on every step.
    References:
        PyTorch documentation, nn.GRU: "output: tensor containing the output features from the last layer, for each t".
    """
    if not looked_at(fresh(training), training).first:
        raise ValueError("the model reads no recurrence at its first step")
    return on_model(training, partial(rewire, rewiring=_AtTheEnd()))


@dataclass(frozen=True)
class _AtTheEnd:
    """Takes last states for first ones, as data; it makes a mode for a model."""

    def of(self, model: nn.Module) -> "_Ending":
        """Make a mode for one call."""
        del model
        return _Ending()


class _Ending(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.states, self.replaced = States(), list[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name = getattr(func, "__name__", "")
        if self.states.is_first(name, args):
            args = self.states.last(args)
            self.replaced.append(name)
        made = func(*args, **(kwargs or {}))
        self.states.note(name, args, made)
        return made


@last_state.proposes
def _proposed_last_state(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("loss", {}).get("first"):
        yield Proposal({}, "a recurrence that reads forwards is read at its first step, where it has seen one", 0.95)


@last_state.written
def _last_state_lines() -> str:
    return "# in forward(): states[:, -1] in place of states[:, 0]"

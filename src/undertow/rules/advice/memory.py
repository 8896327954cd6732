"""Advice on recurrent layers that forget."""

from collections.abc import Sequence

from undertow.pytorch_code import code, expression, in_place_of
from undertow.record import Run, Site
from undertow.rules.advice import Advice
from undertow.rules.advice.signal import LARGE, data_size, smaller_inputs
from undertow.wording import called, line_of

GATES = {"LSTM": 4, "GRU": 3}
"""Matrices that lie one upon the other in a weight of torch's layers."""

_FUSED = frozenset({"RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"})


def longer_memory(run: Run, weights: Sequence[int], module: str, gain: float) -> Advice:
    """Say how a recurrence keeps more of the gradient from step to step.

    Args:
        run: whose Sites they are.
        weights: Sites of its recurrent weights.
        module: path of the module they are used in.
        gain: what one step back in time leaves of the gradient.
    """
    site = run.sites[weights[0]]
    if data_size(run) > LARGE:
        return smaller_inputs(f"{called(run, site)}, where {gain:.2f} of the gradient is left a step", data_size(run))
    kind = site.module_type.removesuffix("Cell")
    if site.module_type not in _FUSED:
        return _orthogonal(run, site)
    lines = [f"for name, weight in {expression(module)}.named_parameters():"]
    lines += ['    if name.startswith("weight_hh"):']
    if kind == "RNN":
        lines += ["        nn.init.orthogonal_(weight)"]
        text = (
            f"Start the recurrent weights of {module} (RNN) as an orthogonal matrix, which keeps a gradient's size; an "
            f"LSTM in its place keeps more than the {gain:.2f} that are left now."
        )
        return Advice(text, code(*lines))
    lines += [f"        for gate in weight.data.chunk({GATES[kind]}):"]
    lines += ["            nn.init.orthogonal_(gate)", '    elif name.startswith("bias_ih"):']
    lines += [f"        size = weight.shape[0] // {GATES[kind]}"]
    lines += ["        weight.data[size : 2 * size] = 3.0  # the gate that keeps the state"]
    gate = "forget gate" if kind == "LSTM" else "update gate"
    text = (
        f"Let the {gate} of {module} ({kind}) start open, with a bias of 3: then a step leaves more of the gradient "
        f"than the {gain:.2f} that are left now."
    )
    return Advice(text, code(*lines))


def calmer_recurrence(run: Run, weights: Sequence[int], module: str, gain: float) -> Advice:
    """Say how a recurrence keeps a gradient from growing: the arguments are those of `longer_memory`."""
    site = run.sites[weights[0]]
    text = (
        f"Start the recurrent weights of {called(run, site)} as orthogonal matrices, which keep a gradient's size; "
        f"these multiply it by {gain:.2f} a step. And clip the gradient's norm at 1."
    )
    if site.module_type not in _FUSED:
        weight = next((name for name in site.parameters if "bias" not in name), "")
        return Advice(text, code(f"nn.init.orthogonal_({expression(weight)})") if weight else "")
    lines = [f"for name, weight in {expression(module)}.named_parameters():"]
    lines += ['    if name.startswith("weight_hh"):']
    lines += ["        for gate in weight.data.split(weight.shape[1]):", "            nn.init.orthogonal_(gate)"]
    return Advice(text, code(*lines))


def state_kept(source: str) -> Advice:
    """Say where a state may be detached, and where not."""
    text = "Leave the detach out of the loop over steps; between two parts of a long sequence it is in its place."
    where = f"forward ({line_of(source)})" if source else "forward"
    return Advice(text, code(*in_place_of(["state = cell(x, state.detach())"], ["state = cell(x, state)"], where)))


def _orthogonal(run: Run, site: Site) -> Advice:
    weight = next((name for name in site.parameters if "bias" not in name), "")
    text = (
        f"Start the recurrent weights of {called(run, site)} as an orthogonal matrix, which keeps a gradient's size, "
        "or take an nn.LSTM in its place."
    )
    return Advice(text, code(f"nn.init.orthogonal_({expression(weight)})") if weight else "")

"""Advice on the graph: what is cut off, not registered, normalised over too little, or mixed between examples."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from undertow.operations import spoken
from undertow.pytorch_code import code, expression, in_place_of, list_of
from undertow.record import Role, Run
from undertow.rules.advice import Advice
from undertow.wording import few, line_of

_KEPT = re.compile(r"^(?P<place>[^\[\]]+)(?P<keys>(\[[^\]]+\])*)(\.(?P<rest>.+))?$")
_WEIGHTS_OF_STEPS = {
    "argmax": ("h = table[scores.argmax(-1)]", "h = scores.softmax(-1) @ table"),
    "round": ("h = h.round()", "h = h + (h.round() - h).detach()"),
}


def gradient_let_through(names: Sequence[str], op: str, source: str) -> Advice:
    """Say how gradient gets back to parameters that it is cut off from by an operation."""
    layer = expression(_module(names[0]))
    text = f"Let the gradient through to {few(names)}: "
    if op == "detach":
        text += "leave out .detach() (or .data), or freeze them by requires_grad_(False) if that is meant."
        lines = in_place_of([f"h = {layer}(x).detach()"], [f"h = {layer}(x)"], line_of(source))
    elif op == "no_grad":
        text += "call it outside of torch.no_grad(), or freeze them by requires_grad_(False) if that is meant."
        lines = in_place_of(["with torch.no_grad():", f"    h = {layer}(x)"], [f"h = {layer}(x)"], line_of(source))
    elif op in _WEIGHTS_OF_STEPS:
        before, after = _WEIGHTS_OF_STEPS[op]
        text += f"take something that has a derivative in the place of {op}."
        lines = in_place_of([before], [after], line_of(source))
    else:
        text += f"take something that has a derivative in the place of {spoken(op) or 'what cuts it off'}, or "
        text += "freeze them by requires_grad_(False)."
        lines = _frozen(names)
    return Advice(text, code(*lines))


def loss_left_whole(op: str, source: str = "") -> Advice:
    """Say how a loss keeps its way back to the parameters."""
    instead = f" Take something that has a derivative in the place of {spoken(op)}." if op in _WEIGHTS_OF_STEPS else ""
    text = (
        "Backpropagate the loss that the network's outputs went into, as the loss function returned it: a tensor made "
        f"anew from its value, or requires_grad_() on it, only silences the error that would have told.{instead}"
    )
    before = ["loss = torch.tensor(loss.item(), requires_grad=True)", "loss.backward()"]
    return Advice(text, code(*in_place_of(before, ["loss.backward()"], line_of(source))))


def frozen_or_used(names: Sequence[str], kind: str) -> Advice:
    """Say what to do with parameters that no gradient reaches."""
    if kind == "read out":
        text = f"Keep what {few(names)} make as a tensor: .item(), .tolist() and .numpy() end the gradient's way."
        lines = in_place_of(["factor = values.mean().item()"], ["factor = values.mean()"])
        return Advice(text, code(*lines))
    if kind == "idle":
        text = f"If {few(names)} are never run, delete them or freeze them; if other batches run them, all is well."
    elif kind == "unused":
        text = f"Use what {few(names)} make in the loss, or freeze them, so that no optimizer carries them along."
    else:
        text = (
            f"Look between {few(names)} and the loss for .detach(), .data, torch.no_grad() or .item(); what shall stay "
            "as it is, freeze."
        )
    return Advice(text, code(*_frozen(names)))


def registered(leaves: Sequence[Mapping[str, Any]], optimizer: bool) -> Advice:
    """Say how layers and tensors that the model holds become parts of it."""
    lines: list[str] = []
    held: list[str] = []
    for leaf in leaves:
        match = _KEPT.match(str(leaf["name"]))
        if match is None:
            continue
        target = expression(match["place"])
        made = _made_known(target, match["keys"] or "", str(leaf.get("kept in", "")), bool(match["rest"]))
        if made and made not in lines:
            lines.append(made)
            held.append(f"*{target}.parameters()" if match["keys"] or match["rest"] else target)
    if lines and optimizer:
        lines += list_of(held, 'optimizer.add_param_group({"params": [', "]})")
    places = few([str(leaf["name"]) for leaf in leaves])
    text = (
        f"Let the model know {places}: layers in nn.ModuleList or nn.ModuleDict, tensors as nn.Parameter, in __init__; "
        "and make the optimizer after that."
    )
    return Advice(text, code(*lines) if lines else "")


def made_once(leaves: Sequence[Mapping[str, Any]]) -> Advice:
    """Say that weights belong into __init__."""
    shape = ", ".join(map(str, leaves[0]["shape"]))
    text = (
        f"Make the weights of shape [{shape}] once, in __init__, as a layer or nn.Parameter, and use them in forward."
    )
    lines = [
        f"# in __init__: self.w = nn.Parameter(0.1 * torch.randn({shape}))",
        f"# in forward, in place of: w = torch.randn({shape}, requires_grad=True)",
        "#     w = self.w",
    ]
    return Advice(text, code(*lines))


def of_another_module(count: int, stepped: int) -> Advice:
    """Say that parameters from elsewhere take gradient, too."""
    text = f"If these {count} tensors shall not be trained by this loss, freeze them or detach what is made of them."
    return Advice(text if not stepped else f"Nothing, if they are trained on purpose. {text}")


def normalised_over_more(run: Run, norm: Mapping[str, Any]) -> Advice:
    """Say how a normalisation gets enough values to take a mean of."""
    shape, op = list(norm["shape"]), str(norm["op"])
    site = next((s for s in run.sites if s.role is Role.NORM and list(s.shape) == shape and s.module), None)
    channels = int(shape[1]) if len(shape) > 1 else 1
    few_values, groups = norm["values"] <= 2, max(channels // 2, 1)
    new = f"nn.GroupNorm({1 if few_values else groups}, {channels})"
    if op in ("layer_norm", "rms_norm") or channels <= 2:
        new = "nn.Identity()"
    name = (
        f"normalisation {site.module} ({site.module_type})"
        if site is not None
        else f"the {spoken(op)} of shape {shape}"
    )
    rather = "leave it out" if new == "nn.Identity()" else f"put {new} in its place, which takes means over channels"
    more = ", or give it larger batches, by drop_last=True for the last one" if op == "batch_norm" else ""
    text = (
        f"Normalise over more than {int(norm['values'])} value{'s' * (norm['values'] != 1)} at {name}: {rather}{more}."
    )
    if not few_values:
        text = f"Give {name} batches of more than one example (drop_last=True in the DataLoader), or {rather}."
    return Advice(text, code(f"{expression(site.module)} = {new}") if site is not None else "")


def examples_apart(run: Run, op: str, shapes: Sequence[Sequence[int]], source: str) -> Advice:
    """Say how the examples of a batch are kept apart."""
    place = line_of(source)
    if op in ("view", "reshape", "flatten", "unflatten", "view_as", "reshape_as") and len(shapes) > 1:
        return _axes_exchanged(op, shapes, place)
    if op in ("lstm", "gru", "rnn_tanh", "rnn_relu", "multi_head_attention_forward"):
        kinds = ("MultiheadAttention",) if "attention" in op else ("LSTM", "GRU", "RNN")
        modules = list(dict.fromkeys(site.module for site in run.sites if site.module_type in kinds and site.module))
        text = f"Tell {few(modules) or op} that the batch comes first in {list(shapes[0])}: batch_first=True."
        if modules:
            return Advice(text, code(*(f"{expression(module)}.batch_first = True" for module in modules)))
        return Advice(text, code(*in_place_of([f"h, _ = {op}(x)"], [f"h, _ = {op}(x.transpose(0, 1))"], place)))
    if op in ("softmax", "log_softmax", "logsumexp", "cumsum", "cumprod"):
        text = f"Take {op} along the axis of the classes (dim=-1, or 1 of {len(shapes[0]) if shapes else 'several'}), "
        text += "not along the batch."
        return Advice(text, code(*in_place_of([f"x = x.{op}(0)"], [f"x = x.{op}(-1)"], place)))
    if op in ("mean", "sum", "max", "amax", "median"):
        text = f"Take {op} along positions (dim=1), not along the batch, the first axis of {list(shapes[0])}."
        return Advice(text, code(*in_place_of([f"x = x.{op}(0)"], [f"x = x.{op}(1)"], place)))
    if op == "normalize":
        text = "Normalise each example by itself (dim=-1), not each feature over the batch."
        lines = ["x = torch.nn.functional.normalize(x, dim=0)"], ["x = torch.nn.functional.normalize(x, dim=-1)"]
        return Advice(text, code(*in_place_of(*lines, place)))
    text = (
        f"If examples shall not meet, keep them apart at {spoken(op) or 'the operation'}"
        f"{f' ({place})' if place else ''}: contrastive losses and attention over a "
        "batch bring them together on purpose, nothing else does."
    )
    return Advice(text)


def along_the_classes(fact: Mapping[str, Any]) -> Advice:
    """Say along which axis a softmax in front of a likelihood is to be taken."""
    op, axis, classes = str(fact["op"]), int(fact["axis"]), int(fact.get("classes", 1))
    text = f"Take {op} along the axis of the classes, {classes} of {list(fact['shape'])}"
    text += ", not along the batch." if axis == 0 else f", not along axis {axis}."
    lines = [f"x = x.{op}({axis})"], [f"x = x.{op}({classes})"]
    return Advice(text, code(*in_place_of(*lines, line_of(fact["source"]))))


def _axes_exchanged(op: str, shapes: Sequence[Sequence[int]], place: str) -> Advice:
    before, after = list(shapes[0]), list(shapes[1])
    off = [n for n, (old, new) in enumerate(zip(before, after, strict=False)) if old != new]
    if len(before) == len(after) and len(off) == 2 and before[off[0]] == after[off[1]]:
        text = (
            f"Exchange the axes by x.transpose({off[0]}, {off[1]}): {op} from {before} to {after} keeps the numbers' "
        )
        text += "order and so puts those of several examples or positions into one."
        line = f"x = x.{op}({', '.join(map(str, after))})"
        return Advice(text, code(*in_place_of([line], [f"x = x.transpose({off[0]}, {off[1]})"], place)))
    text = (
        f"Keep the batch as the first axis in {op} from {before} to {after}, and exchange axes by permute afterwards: "
        f"{op} only cuts the numbers, in their order, into other pieces."
    )
    line = f"x = x.{op}({', '.join(map(str, after))})"
    rest = after[1:2] + after[:1] + after[2:]
    return Advice(text, code(*in_place_of([line], [f"x = x.{op}({', '.join(map(str, rest))}).transpose(0, 1)"], place)))


def _made_known(target: str, keys: str, kept_in: str, layer: bool) -> str:
    if not keys:
        return f"{target} = nn.Parameter({target}.detach())" if not layer else ""
    if keys.count("[") > 1:
        return ""
    if not layer:
        return f"{target} = nn.Parameter{'Dict' if kept_in == 'dict' else 'List'}({target})"
    if kept_in == "dict":
        return f"{target} = nn.ModuleDict({{str(key): layer for key, layer in {target}.items()}})"
    return f"{target} = nn.ModuleList({target})"


def _frozen(names: Sequence[str]) -> list[str]:
    return [f"{expression(name)}.requires_grad_(False)" for name in names]


def _module(parameter: str) -> str:
    return parameter.rpartition(".")[0] or parameter

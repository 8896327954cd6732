"""Lines of plain PyTorch as text: a module's path as an expression, weights drawn anew, activations exchanged.

What advice and remedies both write is made here. Nothing is imported or run: a line names its layers as they are
called in the user's model, ``model`` and ``optimizer`` as people call theirs.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

GAINS = {"relu": 2.0, "leaky_relu": 2.0, "elu": 1.5, "gelu": 2.0, "silu": 2.0, "tanh": 1.0, "selu": 1.0, "sigmoid": 1.0}
"""n_in Var W that keeps the scale of what goes through, by activation: He et al. 2015 for ReLU and its smooth kin,
LeCun et al. 1998 for tanh and SELU; for the sigmoid there is none, and 1 does the least harm."""

MODULES = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "gelu": "GELU",
    "silu": "SiLU",
    "elu": "ELU",
    "selu": "SELU",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "hardsigmoid": "Hardsigmoid",
    "hardswish": "Hardswish",
    "hardtanh": "Hardtanh",
    "log_sigmoid": "LogSigmoid",
    "mish": "Mish",
}
"""Modules of torch.nn by the name of their activation."""

LAYERS = (
    "Linear",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
)
"""Modules of torch.nn whose weight an initialisation is made for."""

MOST_SIGNS = 76
"""In a line that a terminal of 80 columns holds."""

_IMPORTS = tuple(
    (re.compile(rf"(?<![\w.]){name}\."), line)
    for name, line in (("torch", "import torch"), ("nn", "from torch import nn"), ("math", "import math"))
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


class Start(NamedTuple):
    """An initialisation that suits an activation.

    Attributes:
        name: as people call it.
        variance: of a weight, as people write it.
        call: what fills ``{weight}``.
    """

    name: str
    variance: str
    call: str


def expression(path: str, of: str = "model") -> str:
    """Write the path of a module or parameter as Python.

    Args:
        path: dotted, as ``named_modules()`` gives it.
        of: the expression for the whole model.

    Example:
        >>> expression("net.3.conv"), expression("0"), expression("parts.a-b.weight")
        ('model.net[3].conv', 'model[0]', 'model.parts["a-b"].weight')
    """
    written = of
    for part in filter(None, path.split(".")):
        if part.isdigit():
            written += f"[{part}]"
        else:
            written += f".{part}" if _IDENTIFIER.fullmatch(part) else f'["{part}"]'
    return written


def code(*lines: str) -> str:
    """Join lines, and put the imports that they need in front.

    Example:
        >>> print(code("model[1] = nn.ReLU()"))
        from torch import nn
        <BLANKLINE>
        model[1] = nn.ReLU()
    """
    text = "\n".join(lines)
    bare = "\n".join(line.partition("#")[0] for line in text.splitlines())
    needed = [line for used, line in _IMPORTS if used.search(bare) and line not in text]
    return "\n".join([*needed, "", text]) if needed else text


def start_for(activation: str | None) -> Start:
    """Return the initialisation that keeps the scale of signal and gradient in layers with an activation.

    Args:
        activation: its name as a Site has it; None for layers without one.

    Example:
        >>> start_for("relu").name, start_for("tanh").variance
        ('He initialisation', '1/n')
    """
    plain = (activation or "linear").partition("(")[0]
    if plain == "leaky_relu":
        return Start("He initialisation", "2/n", 'nn.init.kaiming_normal_({weight}, nonlinearity="leaky_relu")')
    if plain in ("linear", "selu"):
        return Start("LeCun initialisation", "1/n", 'nn.init.kaiming_normal_({weight}, nonlinearity="linear")')
    if plain in ("tanh", "sigmoid", "softsign", "hardtanh", "erf", "hardsigmoid"):
        return Start("Glorot initialisation", "1/n", "nn.init.xavier_normal_({weight})")
    return Start("He initialisation", "2/n", 'nn.init.kaiming_normal_({weight}, nonlinearity="relu")')


def weights_anew(kinds: Iterable[str], activation: str | None, of: str = "model") -> list[str]:
    """Write the lines that draw the weights of all layers anew, with biases of zero.

    Args:
        kinds: classes of the model's layers; those of `LAYERS` count, and where there is none "Linear".
        activation: what the weights are made for.
        of: the expression for the module whose layers are meant.

    Example:
        >>> print("\\n".join(weights_anew(["Conv2d", "Linear"], "relu")))
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    """
    return [
        f"for module in {of}.modules():",
        f"    if isinstance(module, {_classes(kinds)}):",
        f"        {start_for(activation).call.format(weight='module.weight')}",
        "        if module.bias is not None:",
        "            nn.init.zeros_(module.bias)",
    ]


def activations_exchanged(old: str, new: str, of: str = "model") -> list[str]:
    """Write the lines that put modules of one activation in the place of another's.

    Args:
        old, new: classes of torch.nn.
        of: the expression for the module whose parts are meant.

    Example:
        >>> print("\\n".join(activations_exchanged("Sigmoid", "ReLU")))
        for module in list(model.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.Sigmoid):
                    setattr(module, name, nn.ReLU())
    """
    return [
        f"for module in list({of}.modules()):",
        "    for name, child in module.named_children():",
        f"        if isinstance(child, nn.{old}):",
        f"            setattr(module, name, nn.{new}())",
    ]


def list_of(names: Sequence[str], before: str, after: str, most: int = 6, in_a_row: int = 4) -> list[str]:
    """Write a list as it stands in a statement: of many on several lines, so that they fit a terminal.

    Args:
        names: what the list holds, as Python.
        before: what stands in front of it, with its bracket.
        after: what stands behind it, with its bracket.
        most: names that one line may hold.
        in_a_row: names in each of several lines.

    Example:
        >>> list_of(["a", "b"], "for x in [", "]:")
        ['for x in [a, b]:']
        >>> list_of(["a", "b", "c"], "for x in [", "]:", most=2, in_a_row=2)
        ['for x in [', '    a, b,', '    c,', ']:']
    """
    if len(names) <= most:
        return [f"{before}{', '.join(names)}{after}"]
    rows = (names[at : at + in_a_row] for at in range(0, len(names), in_a_row))
    return [before, *(f"    {', '.join(row)}," for row in rows), after]


def put_in_place(made: str, depth: int = 1) -> list[str]:
    """Write the lines that put a module in the place of the one whose path is ``name``, as within a loop over names.

    Args:
        made: the expression for the new module.
        depth: how deep the lines stand, in levels of four spaces.

    Example:
        >>> print("\\n".join(put_in_place("nn.ReLU()", depth=0)))
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, nn.ReLU())
    """
    lines = ['parent, _, child = name.rpartition(".")', f"setattr(model.get_submodule(parent), child, {made})"]
    return [f"{4 * depth * ' '}{line}" for line in lines]


def rate_times(factor: float, optimizer: str = "optimizer") -> list[str]:
    """Write the lines that multiply the learning rate of every group, and say where they belong: not into the loop.

    Example:
        >>> rate_times(0.1)[1]
        '    group["lr"] *= 0.1'
    """
    return [f"for group in {optimizer}.param_groups:  # once, before training anew", f'    group["lr"] *= {factor:g}']


def setting(name: str, value: str, optimizer: str = "optimizer") -> list[str]:
    """Write the lines that set one setting of every group of an optimizer.

    Example:
        >>> setting("eps", "1e-12")[1]
        '    group["eps"] = 1e-12'
    """
    return [f"for group in {optimizer}.param_groups:", f'    group["{name}"] = {value}']


def in_place_of(before: Sequence[str], after: Sequence[str], where: str = "") -> list[str]:
    """Write what stands in the user's code as a comment, and beneath it the lines to write instead.

    Example:
        >>> in_place_of(["x = x.round()"], ["x = x + (x.round() - x).detach()"], "forward")
        ['# in forward, in place of: x = x.round()', 'x = x + (x.round() - x).detach()']
    """
    place = f"in {where}, in place of" if where else "in place of"
    short = f"# {place}: {before[0]}"
    if len(before) == 1 and len(short) <= MOST_SIGNS:
        return [short, *after]
    return [f"# {place}:", *(f"#     {line}" for line in before), *after]


def spelled(activation: str | None) -> str:
    """Return an activation's name as people write it in a sentence.

    Example:
        >>> spelled("relu"), spelled("sigmoid"), spelled("hardtanh(0, 6)"), spelled("leaky_relu")
        ('ReLU', 'sigmoid', 'ReLU6', 'leaky ReLU')
    """
    own = {"relu": "ReLU", "leaky_relu": "leaky ReLU", "gelu": "GELU", "silu": "SiLU", "elu": "ELU", "selu": "SELU"}
    known = own | {"prelu": "PReLU", "rrelu": "RReLU", "hardtanh(0, 6)": "ReLU6"}
    return known.get(activation or "", (activation or "").partition("(")[0])


def _classes(kinds: Iterable[str]) -> str:
    known = [f"nn.{kind}" for kind in LAYERS if kind in set(kinds)] or ["nn.Linear"]
    return known[0] if len(known) == 1 else f"({', '.join(sorted(known))})"

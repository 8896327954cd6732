"""UT502: tensors that are trained by nobody, as the model doesn't know them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.advice.graph import made_once, of_another_module, registered
from undertow.rules.registry import rule
from undertow.wording import few


@rule(
    "UT502",
    "not registered",
    once_per_run=True,
    header=("other leaves",),
    explains=("UT101", "UT104", "UT105", "UT109", "UT202", "UT401", "UT704"),
)
def not_registered(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Layers or weights that are used and are no parameters of the model.

    What:
        Gradient of the loss arrives at tensors that ``model.parameters()`` doesn't list: layers in a plain list or
        dictionary, layers or weights made in ``forward``, tensors with ``requires_grad`` as plain attributes.
    Why it is bad:
        The optimizer never sees them. They stay as random as they began, are not moved by ``.to(device)`` and not
        saved by ``state_dict``.
    Evidence:
        ``tensors`` and ``numbers`` in them.
    Threshold:
        Any that the model holds outside of its registers and that is a Parameter or multiplies (or shifts) data; any
        Parameter that is another one at every pass. Inputs whose gradient is asked for are none: what the model was
        called with, and what is multiplied by weights. What the optimizer holds anyway is trained, and a note; and so
        are parameters of another module (a discriminator's, while the generator trains).
    What to do:
        Keep layers in nn.ModuleList or nn.ModuleDict, weights as nn.Parameter, made once in ``__init__``. Build the
        optimizer after that.
    References:
        PyTorch documentation of nn.ModuleList and nn.Parameter.
    """
    leaves = [leaf for leaf in diagnosis.run.header["other leaves"] if not leaf["argument"]]
    held = [leaf for leaf in leaves if leaf["name"] and (leaf["parameter"] or leaf["weight"])]
    made = [leaf for leaf in leaves if not leaf["name"] and leaf.get("new") and (leaf["parameter"] or leaf["weight"])]
    others = [leaf for leaf in leaves if not leaf["name"] and leaf["parameter"] and not leaf.get("new")]
    trained = [leaf for leaf in (*held, *others) if leaf["stepped"]]
    if untrained := [leaf for leaf in held if not leaf["stepped"]]:
        optimizer = str(diagnosis.run.header.get("optimizer", "none"))
        yield registered(untrained, not optimizer.startswith("none")).on(_held(untrained))
    if made:
        yield made_once(made).on(_made(made))
    if trained or others:
        more = [leaf for leaf in others if not leaf["stepped"]]
        yield of_another_module(len(trained) + len(more), len(trained)).on(_elsewhere(trained, more))


def _held(leaves: list[Mapping[str, Any]]) -> Finding:
    names = [leaf["name"] for leaf in leaves]
    shown = few(names)
    text = (
        f"No optimizer trains {shown}: the loss depends on {_them(leaves)}, but the model doesn't list {_them(leaves)} "
        "among its parameters."
    )
    return _finding("not registered", Severity.ERROR, shown, text, leaves)


def _made(leaves: list[Mapping[str, Any]]) -> Finding:
    shapes = ", ".join(str(leaf["shape"]) for leaf in leaves[:3])
    text = f"Weights of shape {shapes} are made anew in every pass: what a step learns is thrown away with them."
    return _finding("made in forward", Severity.ERROR, "forward", text, leaves)


def _elsewhere(trained: list[Mapping[str, Any]], others: list[Mapping[str, Any]]) -> Finding:
    text = f"{len(trained) + len(others)} tensors that are no parameters of this model take gradient, too"
    text += f"; the optimizer holds {len(trained)} of them." if trained else ": those of another module."
    return _finding("other parameters", Severity.NOTE, "the loss", text, [*trained, *others])


def _them(leaves: list[Mapping[str, Any]]) -> str:
    return "it" if len(leaves) == 1 else "them"


def _finding(name: str, severity: Severity, where: str, text: str, leaves: list[Mapping[str, Any]]) -> Finding:
    size = sum(math.prod(leaf["shape"]) for leaf in leaves)
    numbers = {"tensors": float(len(leaves)), "numbers": float(size)}
    return Finding("UT502", name, severity, (), where, text, numbers, "none is left out")

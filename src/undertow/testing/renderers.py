"""The contract of a renderer: content from any Diagnosis, the same each time, without a sign that acts on a screen."""

from collections.abc import Callable

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.printable import printable
from undertow.record import Edge, Finding, Role, Run, Severity, Site
from undertow.render import report_json

HOSTILE = 'fc\x1b[31m\u202e</script><img src=x onerror=alert(1)>"&\x00'
"""A name that no renderer may hand on as it is."""


def check_renderer(render: Callable[[Diagnosis], str | bytes]) -> None:
    """Hold a renderer to its contract.

    Args:
        render: takes a `undertow.diagnosis.Diagnosis`, returns what a file shall hold; or raises ValueError with what
            to do instead, where there is nothing to show.

    Raises:
        AssertionError: it returns something else or nothing, refuses everything, changes what it is given, is another
            the second time, or hands on control characters from a model's names.

    Example:
        >>> check_renderer(lambda diagnosis: printable(f"{len(diagnosis.findings)} findings"))
        >>> check_renderer(lambda diagnosis: None)
        Traceback (most recent call last):
        AssertionError: of an empty run the renderer makes a NoneType: it must be str or bytes
    """
    __tracebackhide__ = True
    refused = []
    for what, diagnosis in samples().items():
        before = report_json.to_dict(diagnosis)
        try:
            written = render(diagnosis)
        except ValueError as error:
            refused.append(f"{what}: {error}")
            continue
        _check_written(what, written)
        if render(diagnosis) != written:
            raise AssertionError(f"of {what} the renderer makes something else the second time")
        if report_json.to_dict(diagnosis) != before:
            raise AssertionError(f"the renderer changes {what}")
    if len(refused) == len(samples()):
        raise AssertionError(f"the renderer refuses all that there is, as of {refused[0]}")


def _check_written(what: str, written: str | bytes) -> None:
    __tracebackhide__ = True
    kind = type(written).__name__
    if not isinstance(written, str | bytes):
        raise AssertionError(f"of {what} the renderer makes a {kind}: it must be str or bytes")
    if not written:
        raise AssertionError(f"of {what} the renderer makes nothing")
    if isinstance(written, str):
        told = "names go through undertow.printable.printable"
        if printable(written, lines=True) != written:
            raise AssertionError(f"the renderer hands on control characters: {told}")


def samples() -> dict[str, Diagnosis]:
    """Return diagnoses that a renderer must be able to do with, made of numbers alone.

    Example:
        >>> list(samples())
        ['an empty run', 'a run of two layers', 'a run with hostile names', 'a run of nan']
    """
    return {
        "an empty run": Diagnosis(Run({"model": "Net"}, ()), 0, ()),
        "a run of two layers": _two_layers("fc", [1.0, 0.5, 0.25]),
        "a run with hostile names": _two_layers(HOSTILE, [1.0, 0.5, 0.25]),
        "a run of nan": _two_layers("fc", [np.nan, np.nan, np.inf]),
    }


def _two_layers(name: str, norms: list[float]) -> Diagnosis:
    sites = (
        Site(0, f"{name}2", "addmm", Role.WEIGHT, (4, 2), parameters=(f"{name}2.weight",), module_type="Linear"),
        Site(1, f"{name}1.act", "tanh", Role.ACTIVATION, (4, 8), activation="tanh", module_type="Tanh"),
        Site(2, f"{name}1", "addmm", Role.WEIGHT, (4, 8), parameters=(f"{name}1.weight",), module_type="Linear"),
    )
    gradient = np.array([norms])
    columns = {"grad_output": gradient, "weight_grad_norm": gradient, "weight_norm": np.ones((1, 3))}
    edges = (Edge(0, 1), Edge(1, 2))
    along = {"contribution": gradient[:, 1:], "share": np.ones((1, 2))}
    found = Finding("UT101", "vanishing", Severity.ERROR, (2,), f"{name}1", f"It fades at {name}1.", {"total": -0.6})
    run = Run({"model": name, "loss": 1.0}, sites, edges, columns, along, {"step": np.zeros(1)})
    return Diagnosis(run, 0, (found,))

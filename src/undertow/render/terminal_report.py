"""Render an examination for the terminal: the verdict and what to do, the other findings, the gradient's way back."""

from functools import partial

from rich.console import Group, RenderableType
from rich.text import Text

from undertow.diagnosis import Diagnosis
from undertow.render.labels import ties
from undertow.render.terminal import Screen, printed
from undertow.render.terminal_findings import blocks
from undertow.render.terminal_path import way_back
from undertow.render.verdict import by_cause, is_doubtful, is_fault, loss, model_name, verdict


def text(diagnosis: Diagnosis, on: Screen | None = None) -> str:
    """Return what ``print(report)`` shows.

    Args:
        diagnosis: of an examination.
        on: where it is shown; 100 columns without colour unless given.
    """
    on = on or Screen()
    parts: list[RenderableType] = [_heading(diagnosis)]
    if not any(map(is_fault, diagnosis.findings)):
        parts.append(_good(diagnosis))
    parts += blocks(diagnosis.findings, on, partial(by_cause, diagnosis))
    parts += way_back(diagnosis, on)
    parts += [Text(sentence) for sentence in ties(diagnosis.run.sites)]
    return printed(parts, on)


def _heading(diagnosis: Diagnosis) -> Text:
    header = diagnosis.run.header
    shown = [f"{model_name(diagnosis)}, {header.get('parameters', 0):,} parameters", f"loss {loss(diagnosis):.4g}"]
    if header.get("repeats", 1) > 1:
        shown.append(f"{header['repeats']} passes")
    return Text("undertow   " + "   ".join(shown))


def _good(diagnosis: Diagnosis) -> Group:
    words, sentence = verdict(diagnosis)
    if any(map(is_doubtful, diagnosis.findings)):  # what it is stands right beneath
        return Group(Text(words.upper(), "bold yellow"))
    return Group(Text(words.upper(), "bold green"), Text(sentence))

"""Render an examination for the terminal: the verdict, the gradient path as a table with bars, the findings."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from undertow.diagnosis import Diagnosis
from undertow.record import Finding
from undertow.render.labels import near, ties
from undertow.render.terminal import WIDTH, printed, way_back
from undertow.render.verdict import loss, model_name, verdict


def text(diagnosis: Diagnosis, width: int = WIDTH) -> str:
    """Return what ``print(report)`` shows.

    Args:
        diagnosis: of an examination.
        width: columns of the terminal.
    """
    parts: list[RenderableType] = [_heading(diagnosis), _verdict(diagnosis)]
    if diagnosis.gradient_path is not None and diagnosis.gradient_path.waypoints:
        parts += way_back(diagnosis)
        parts += [Text(sentence) for sentence in ties(diagnosis.run.sites)]
    if diagnosis.findings:
        parts.append(_findings(diagnosis.findings))
    return printed(parts, width)


def _heading(diagnosis: Diagnosis) -> Text:
    header = diagnosis.run.header
    shown = [f"{model_name(diagnosis)}, {header.get('parameters', 0):,} parameters", f"loss {loss(diagnosis):.4g}"]
    if header.get("repeats", 1) > 1:
        shown.append(f"{header['repeats']} passes")
    return Text("undertow   " + "   ".join(shown))


def _verdict(diagnosis: Diagnosis) -> Table:
    words, sentence = verdict(diagnosis)
    grid = Table.grid(padding=(0, 2))
    grid.add_row(words.upper(), sentence)
    return grid


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for finding in findings:
        sure = "" if finding.confidence == 1 else f" In {finding.confidence:.0%} of the passes."
        held = f" ({finding.threshold})" if finding.threshold else ""
        line = f" At {near(finding.source)}." if finding.source else ""
        table.add_row(f"{finding.code} {finding.severity}", finding.name, f"{finding.message}{held}{line}{sure}")
    return table

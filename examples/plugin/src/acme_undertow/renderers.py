"""Reports as Markdown: a table of what was found."""

from undertow.diagnosis import Diagnosis
from undertow.printable import printable


def markdown(diagnosis: Diagnosis) -> str:
    """Return a heading and a table, a finding a line."""
    rows = [(found.code, str(found.severity), found.where, found.message) for found in diagnosis.findings]
    table = [("code", "severity", "where", "what"), ("---",) * 4, *rows]
    lines = [f"| {' | '.join(_cell(text) for text in row)} |" for row in table]
    return "\n".join(
        [
            f"# {_cell(str(diagnosis.run.header.get('model', 'A model')))}",
            "",
            *(lines if rows else ["Nothing was found."]),
            "",
        ]
    )


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|").replace("<", "&lt;")

"""Render an examination as a page: the verdict, then every section that has something to show."""

from importlib.metadata import version

from undertow.diagnosis import Diagnosis
from undertow.render.figures import checked_whole
from undertow.render.markup import escaped
from undertow.render.page import Article
from undertow.render.sections import SECTIONS, answer
from undertow.render.verdict import headline, how_bad, loss, verdict

NAMED = {"optimizer": "optimizer", "devices": "devices", "torch": "torch", "python": "Python"}
"""What the page tells of how it was made: the header's name, and the reader's."""


def article(diagnosis: Diagnosis) -> Article:
    """Return the page of a report.

    Names from models are text throughout, and never markup.

    Example:
        >>> from undertow.record import Run
        >>> article(Diagnosis(Run({"model": "Net"}, ()))).title
        'Net: no weights'
    """
    with checked_whole():
        sections = [section(diagnosis) for section in SECTIONS]
    return Article(
        title=headline(diagnosis),
        subtitle=_subtitle(diagnosis),
        lead="\n\n".join(map(escaped, filter(None, (verdict(diagnosis)[1], how_bad(diagnosis))))),
        tone=diagnosis.findings[0].severity.value if diagnosis.findings else None,
        answer=answer(diagnosis),
        sections=[section for section in sections if section is not None],
        meta=_meta(diagnosis),
        lively=False,
    )


def _subtitle(diagnosis: Diagnosis) -> str:
    run = diagnosis.run
    passes = run.header.get("repeats", 1)
    return (
        f"{run.header.get('parameters', 0):,} parameters, {len(run.sites):,} operations, loss {loss(diagnosis):.4g}, "
        f"{passes} pass{'es' if passes > 1 else ''}"
    )


def _meta(diagnosis: Diagnosis) -> dict[str, str]:
    header = diagnosis.run.header
    known = {name: header[key] for key, name in NAMED.items() if header.get(key)}
    shown = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in known.items()}
    return {"undertow": version("undertow"), **shown}

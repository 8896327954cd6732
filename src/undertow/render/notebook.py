"""A report for a notebook's cell: the verdict, the picture and the findings, without scripts."""

import base64
from collections.abc import Sequence

from markupsafe import Markup

from undertow.analysis.gradient_path import find_gradient_path
from undertow.record import BackwardGain, Finding, Run
from undertow.render import report_page, terminal_report

_FRAGMENT = Markup(
    '<div style="max-width: 50rem; font-family: system-ui, sans-serif; line-height: 1.45">'
    "<p><strong>{model}: {words}.</strong> {sentence}</p>{picture}{findings}</div>"
)
_PICTURE = Markup(
    '<img alt="The gradient on its way back" style="max-width: 100%; background: white" '
    'src="data:image/svg+xml;base64,{svg}">'
)
_FINDING = Markup("<li><strong>{code}</strong> {severity}: {message}</li>")


def fragment(run: Run, gains: Sequence[BackwardGain], findings: Sequence[Finding]) -> Markup:
    """HTML to stand inside of another page.

    Example:
        >>> print(fragment(Run({"model": "<b>"}, ()), (), ()))
        <div style="..."><p><strong>&lt;b&gt;: no weights.</strong> No gradient ... weights.</p></div>
    """
    gradient_path = find_gradient_path(run, step=0)
    words, sentence = terminal_report.verdict(gradient_path, gains, findings)
    drawn = Markup()
    if gradient_path is not None and len(gradient_path.waypoints) > 1:
        svg = base64.b64encode(report_page.picture(run, gains, findings).encode()).decode()
        drawn = _PICTURE.format(svg=svg)
    listed = Markup().join(
        _FINDING.format(code=finding.code, severity=finding.severity, message=finding.message) for finding in findings
    )
    return _FRAGMENT.format(
        model=run.header.get("model", "model"),
        words=words,
        sentence=sentence,
        picture=drawn,
        findings=Markup("<ul>{}</ul>").format(listed) if findings else "",
    )

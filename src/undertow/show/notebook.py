"""A report for a notebook's cell: the verdict, the picture and the findings, without scripts."""

import base64
from collections.abc import Sequence

from markupsafe import Markup

from undertow.backbone import find_backbone
from undertow.record import BackwardGain, Finding, Run
from undertow.show import report, text

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
    backbone = find_backbone(run, step=0)
    words, sentence = text.verdict(backbone, gains, findings)
    drawn = Markup()
    if backbone is not None and len(backbone.marks) > 1:
        svg = base64.b64encode(report.picture(run, gains, findings).encode()).decode()
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

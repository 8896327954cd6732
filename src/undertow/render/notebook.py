"""Render an examination for a notebook's cell: the verdict, the picture and the findings, without scripts."""

import base64
from collections.abc import Sequence

from markupsafe import Markup

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, folded
from undertow.render import gradient_charts
from undertow.render.verdict import headline, how_bad, is_fault, model_name, verdict

_FRAGMENT = Markup(
    '<div style="max-width: 50rem; font-family: system-ui, sans-serif; line-height: 1.45">'
    "<p><strong>{model}: {words}.</strong> {sentence}</p>{remedy}{picture}{findings}</div>"
)
_PICTURE = Markup(
    '<img alt="The gradient on its way back" style="max-width: 100%; background: white" '
    'src="data:image/svg+xml;base64,{svg}">'
)
_FINDING = Markup(
    "<li><strong>{code}</strong> {severity}: {message}{remedy}<div><small>more: <code>undertow rule {code}"
    "</code></small></div>{rest}</li>"
)
_BRIEF = Markup("<li><strong>{code}</strong> {severity}: {message}</li>")
_ADVICE = Markup("<div>{}</div>")
_SNIPPET = Markup("<pre>{}</pre>")


def fragment(diagnosis: Diagnosis) -> Markup:
    """Return HTML to stand inside of another page.

    Example:
        >>> from undertow.record import Run
        >>> print(fragment(Diagnosis(Run({"model": "<b>"}, ()))))
        <div style="..."><p><strong>&lt;b&gt;: no weights.</strong> No gradient ... weights.</p></div>
    """
    words, sentence = verdict(diagnosis)
    found = folded(diagnosis.findings)
    leading = [each for each, _ in found[:1] if is_fault(each)]
    listed = Markup().join(_listed(each, rest, told=each in leading) for each, rest in found)
    return _FRAGMENT.format(
        model=model_name(diagnosis),
        words=words,
        sentence=" ".join(filter(None, (sentence, how_bad(diagnosis)))),
        remedy=Markup().join(map(_remedy, leading)),
        picture=_picture(diagnosis),
        findings=Markup("<ul>{}</ul>").format(listed) if diagnosis.findings else "",
    )


def _listed(finding: Finding, rest: Sequence[Finding], told: bool) -> Markup:
    """Return a finding with its remedy, unless that was told above, and in a line each what follows from it."""
    beneath = Markup().join(_brief(each) for each in rest)
    return _FINDING.format(
        code=finding.code,
        severity=finding.severity,
        message=f"{finding.span}{finding.message}",
        remedy=Markup() if told else _remedy(finding),
        rest=Markup("follows from it:<ul>{}</ul>").format(beneath) if rest else "",
    )


def _remedy(finding: Finding) -> Markup:
    advice = _ADVICE.format(finding.advice) if finding.advice else Markup()
    return advice + (_SNIPPET.format(finding.snippet) if finding.snippet else Markup())


def _brief(finding: Finding) -> Markup:
    return _BRIEF.format(code=finding.code, severity=finding.severity, message=f"{finding.span}{finding.message}")


def _picture(diagnosis: Diagnosis) -> Markup:
    if diagnosis.gradient_path is None or len(diagnosis.gradient_path.waypoints) < 2:
        return Markup()
    drawn = gradient_charts.svg(diagnosis, headline(diagnosis))
    return _PICTURE.format(svg=base64.b64encode(drawn.encode()).decode())

"""What an examination found, as a page and as a picture. Reads records only; names from models are text throughout."""

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import groupby

from undertow.analysis.gradient_path import GradientPath, find_gradient_path
from undertow.analysis.theory_check import SegmentPrediction, TheoryCheck, check_theory
from undertow.analysis.theory_check.gain_model import BY_CHANCE
from undertow.analysis.theory_check.interpretation import summary
from undertow.record import BackwardGain, Finding, Run
from undertow.render import figures, gradient_charts, terminal_report
from undertow.render.blocks import Block
from undertow.render.markup import code, escaped
from undertow.render.page import Article, Branch, Figure, Prose, Section, Table, Tree
from undertow.render.segments import Segment, label, segments
from undertow.render.sitetree import packed, site_tree
from undertow.rules import RULES
from undertow.rules.explained import sections as explained

MOST_PLACES = 25
MOST_OUTLOOKS = 40
WORTH_TELLING = 0.005
"""Decades: less is rounding."""

MOST_JOINS, MOST_JOINS_OPEN = 25, 12
PICTURE_WIDTH = 760


def article(run: Run, gains: Sequence[BackwardGain], findings: Sequence[Finding]) -> Article:
    """The page of a report: verdict, the gradient's way back, findings, branches, every operation.

    Args:
        run: what was measured; its first step is shown.
        gains: every block of the gradient path at that step.
        findings: the worst first.

    Example:
        >>> article(Run({"model": "Net"}, ()), (), ()).title
        'Net: no weights'
    """
    gradient_path = find_gradient_path(run, step=0)
    words, sentence = terminal_report.verdict(gradient_path, gains, findings)
    return Article(
        title=f"{run.header.get('model', 'model')}: {words}",
        subtitle=_subtitle(run),
        lead=escaped(sentence),
        sections=[*_parts(run, gradient_path, gains, findings)],
        meta=_meta(run),
    )


def picture(run: Run, gains: Sequence[BackwardGain], findings: Sequence[Finding]) -> str:
    """The charts of the page in one SVG, under the verdict.

    Raises:
        ValueError: the gradient passes no two layers, so that there is nothing to draw.
    """
    gradient_path = find_gradient_path(run, step=0)
    if gradient_path is None or len(gradient_path.waypoints) < 2:
        raise ValueError("there is no way back to draw: the gradient passes fewer than two layers. Save .html or .txt")
    words, _ = terminal_report.verdict(gradient_path, gains, findings)
    title = f"{run.header.get('model', 'model')}: {words}"
    found = segments(gradient_path, gains, gradient_charts.MOST_BARS)
    theory = check_theory(run, gradient_path.step, gradient_path)
    charts = [
        gradient_charts.way_back(gradient_path, gains, title, theory=theory),
        gradient_charts.factor_bars(found, "By cause"),
    ]
    return figures.to_svg(charts, PICTURE_WIDTH, columns=1)


def _parts(
    run: Run, gradient_path: GradientPath | None, gains: Sequence[BackwardGain], findings: Sequence[Finding]
) -> Iterator[Section]:
    if gradient_path is not None and len(gradient_path.waypoints) > 1:
        theory = check_theory(run, gradient_path.step, gradient_path)
        yield _way_back(gradient_path, gains, theory)
        yield _theory(theory)
    if findings:
        groups = groupby(findings, key=lambda finding: finding.code)
        yield Section("findings", "What was found", [_found(code, list(group)) for code, group in groups])
    if gradient_path is not None and any(len(gain.shares) > 1 for gain in gains):
        yield _branches(run, gains)
    yield Section("operations", "Every operation", [site_tree(run, findings)])


def _way_back(gradient_path: GradientPath, gains: Sequence[BackwardGain], theory: TheoryCheck) -> Section:
    found = segments(gradient_path, gains, gradient_charts.MOST_BARS)
    decay = gradient_path.decay()
    title = (
        f"From the loss to the front the gradient changes by {gradient_charts.signed(decay.total)} decades, "
        f"{gradient_charts.signed(decay.rate)} from one layer or join to the next"
    )
    if decay.gone is not None:
        title += f"; from {gradient_path.run.sites[decay.gone].name} on nothing is left"
    caption = (
        "Only what all gradient to the front must cross is on this way; branches beside it are told below. "
        "Point at a layer for what becomes of the gradient from there to the next."
    )
    if theory.covered:
        caption += (
            " Dashed: what theory expects from the measured level on, where it says anything; 95 % of networks with "
            "weights drawn at random in these sizes lie in the band."
        )
    bars = (
        "Bars to the left make the gradient smaller, bars to the right larger, and the dot is what remains of them "
        "all. *Unattributed* is what was measured beyond the factors that are computed from derivatives and weights."
    )
    return Section(
        "way-back",
        "The gradient’s way back",
        [
            Figure(
                "gradient", gradient_charts.way_back(gradient_path, gains, theory=theory), title, caption, wide=True
            ),
            Figure("causes", gradient_charts.factor_bars(found), _cause_title(found), bars, _numbers(found), wide=True),
        ],
    )


def _theory(theory: TheoryCheck) -> Section:
    """What mean-field theory expects of every segment, beside what was measured."""
    shown = theory.predictions
    left_out = ""
    if len(shown) > MOST_OUTLOOKS:
        shown = theory.deviating[:MOST_OUTLOOKS]
        left_out = f"Of {len(theory.predictions)} segments those that depart from theory the most"
    words = (
        "From each layer’s activation and the sizes of its weights, biases and inputs theory computes what the layer "
        "does to a gradient that is independent of it. *By chance* is how far that may be off: four standard "
        "deviations over random weights of this width, for a single example."
    )
    blocks: list[Block] = [Prose(f"{escaped(summary(theory))}\n\n{words}")]
    if shown and theory.covered:
        columns = ["from", "passes on", "theory expects", "by chance", "what it means"]
        blocks.append(Table(columns, [_beside(each) for each in shown], left_out, stacked=True))
    return Section("theory", "Beside theory", blocks)


def _beside(prediction: SegmentPrediction) -> list[str]:
    measured = "" if math.isnan(prediction.measured) else f"× {terminal_report.number(10**prediction.measured)}"
    if not prediction.covered:
        return [code(prediction.name), measured, "–", "–", f"no theory for this: {escaped(prediction.reason)}"]
    reach = BY_CHANCE * prediction.spread
    low, high = (terminal_report.number(10 ** (prediction.expected + each)) for each in (-reach, reach))
    meaning = escaped(prediction.saying) or ("a residual block, as expected" if prediction.residual else "as expected")
    return [
        code(prediction.name),
        measured,
        f"× {terminal_report.number(10**prediction.expected)}",
        f"{low} to {high}",
        meaning,
    ]


def _cause_title(found: Sequence[Segment]) -> str:
    total: dict[str, float] = {}
    for segment in found:
        for cause, decades in segment.decades.items():
            total[cause] = total.get(cause, 0.0) + decades
    largest = sorted(total.items(), key=lambda item: -abs(item[1]))[:3]
    listed = ", ".join(
        f"{cause} {gradient_charts.signed(decades)}" for cause, decades in largest if abs(decades) >= 0.005
    )
    return f"Decades by cause: {listed}" if listed else "Nothing on the way makes the gradient larger or smaller"


def _numbers(found: Sequence[Segment]) -> Table:
    shown = [cause for cause in gradient_charts.causes(found) if cause != gradient_charts.OTHER]
    rows = [[code(s.label), s.gain, *(s.factors.get(cause) for cause in shown)] for s in found]
    return Table(["from", "passes on", *shown], rows)


def _found(rule_code: str, findings: Sequence[Finding]) -> Section:
    worst = max(findings, key=lambda finding: finding.severity.rank)
    about = explained(RULES[rule_code]) if rule_code in RULES else {}
    rows = [_row(finding) for finding in findings[:MOST_PLACES]]
    left_out = len(findings) - MOST_PLACES
    caption = f"The first {MOST_PLACES} places; {left_out} more in the tree below" if left_out > 0 else ""
    columns = ["where", "what", "evidence", "threshold", "passes"]
    if all(finding.confidence == 1 for finding in findings):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Section(
        rule_code.lower(),
        f"{rule_code} {worst.name}",
        [Table(columns, rows, caption, stacked=True), Prose(_advice(about, worst))],
        tone=worst.severity.value,
    )


def _row(finding: Finding) -> list[str]:
    numbers = ", ".join(
        f"{escaped(name)} {_signed(value)}"
        for name, value in finding.evidence.items()
        if not (name.startswith("decades by") and abs(value) < WORTH_TELLING)
    )
    threshold = escaped(finding.threshold)
    line = f" At {code(terminal_report.near(finding.source))}." if finding.source else ""
    return [code(finding.where), escaped(finding.message) + line, numbers, threshold, f"{finding.confidence:.0%}"]


def _signed(value: float) -> str:
    return terminal_report.number(value).replace("-", "−") or "not a number"


def _advice(about: Mapping[str, str], finding: Finding) -> str:
    told = {
        "Why it is bad": about.get("Why it is bad", ""),
        "What to do": about.get("What to do", ""),
        "Threshold": about.get("Threshold", ""),
        "Behind it": code(finding.equation),
        "References": about.get("References", ""),
    }
    return "\n\n".join(f"**{name}.** {words}" for name, words in told.items() if words)


def _branches(run: Run, gains: Sequence[BackwardGain]) -> Section:
    joined = [gain for gain in gains if len(gain.shares) > 1]
    words = (
        "Where the forward pass forks, gradients meet on the way back. A *share* is a branch’s part of the gradient "
        "there, along its direction: shares add up to 1, and one that points against the others is negative. *Arrives* "
        "is the norm of what comes along the branch."
    )
    lines = [_joined(run, gain, unfolded=len(joined) <= MOST_JOINS_OPEN) for gain in joined]
    tree = Tree("where they meet", ("share", "arrives"), packed(lines, MOST_JOINS), words)
    return Section("branches", "Branches and their shares", [tree])


def _joined(run: Run, gain: BackwardGain, unfolded: bool) -> Branch:
    norms = run.edge_column("contribution", step=0)
    ranked = sorted(gain.shares.items(), key=lambda item: -item[1])
    parts = [
        Branch(_giver(run, gain, edge), "", (_signed(share), terminal_report.number(norms[edge])))
        for edge, share in ranked
    ]
    received = float(run.column("grad_output", step=0)[gain.end])
    largest = "" if unfolded else f"{parts[0].label} {parts[0].cells[0]}"
    return Branch(label(run.sites[gain.end]), largest, ("", terminal_report.number(received)), "", parts, unfolded)


def _giver(run: Run, gain: BackwardGain, edge: int) -> str:
    source = run.edges[edge].source
    return "straight on" if source == gain.start else f"through {label(run.sites[source])}"


def _subtitle(run: Run) -> str:
    loss = run.steps["loss"][0] if "loss" in run.steps else run.header.get("loss", float("nan"))
    passes = run.header.get("repeats", 1)
    return (
        f"{run.header.get('parameters', 0):,} parameters, {len(run.sites):,} operations, loss {loss:.4g}, "
        f"{passes} pass{'es' if passes > 1 else ''}"
    )


def _meta(run: Run) -> dict[str, str]:
    named = {"optimizer": "optimizer", "devices": "devices", "torch": "torch", "python": "Python"}
    told = {name: run.header[key] for key, name in named.items() if run.header.get(key)}
    shown = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in told.items()}
    return {"undertow": version("undertow"), **shown}

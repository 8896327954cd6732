"""Show what mean-field theory expects of every segment, beside what was measured."""

import math

from undertow.analysis.theory_check import SegmentPrediction
from undertow.analysis.theory_check.interpretation import summary
from undertow.diagnosis import Diagnosis
from undertow.formatting import terse
from undertow.render.blocks import Block, Folded, Prose, Section, Table
from undertow.render.markup import code, escaped
from undertow.render.verdict import chance_range

MOST_PREDICTIONS = 40
COLUMNS = ("from", "passes on", "theory expects", "by chance", "what it means")
EXPLANATION = (
    "From each layer’s activation and the sizes of its weights, biases and inputs theory computes what the layer does "
    "to a gradient that is independent of it. *By chance* is how far that may be off: four standard deviations over "
    "random weights of this width, for a single example."
)


def beside_theory(diagnosis: Diagnosis) -> Section | None:
    """List theory's prediction for every segment; of many, those that depart the most."""
    if diagnosis.gradient_path is None or len(diagnosis.gradient_path.waypoints) < 2:
        return None
    theory = diagnosis.theory
    shown = theory.predictions
    left_out = ""
    if len(shown) > MOST_PREDICTIONS:
        shown = theory.deviating[:MOST_PREDICTIONS]
        left_out = f"Of {len(theory.predictions)} segments those that depart from theory the most"
    blocks: list[Block] = [Prose(escaped(summary(theory)))]
    if shown and theory.covered:
        table = Table(COLUMNS, [_row(each) for each in shown], left_out or "Theory, segment by segment", stacked=True)
        blocks.append(Folded("Segment by segment", [Prose(EXPLANATION), table]))
    return Section("theory", "Beside theory", blocks)


def _row(prediction: SegmentPrediction) -> list[str]:
    measured = "" if math.isnan(prediction.measured) else f"× {terse(10**prediction.measured)}"
    if not prediction.covered:
        return [code(prediction.name), measured, "–", "–", f"no theory for this: {escaped(prediction.reason)}"]
    low, high = map(terse, chance_range(prediction))
    meaning = escaped(prediction.saying) or ("a residual block, as expected" if prediction.residual else "as expected")
    return [code(prediction.name), measured, f"× {terse(10**prediction.expected)}", f"{low} to {high}", meaning]

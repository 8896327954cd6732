"""Compare what theory expects of a model, segment by segment, with what was measured.

Activation, width, size of weights and biases, and size of what comes into each layer are read off a Run; everything
else is mean-field theory's. Where it doesn't hold (attention, normalisation on the main way, weights used at step
after step), nothing is expected, and the reason is told.
"""

from undertow.analysis.theory_check.comparison import check_theory
from undertow.analysis.theory_check.prediction import SegmentPrediction, TheoryCheck

__all__ = ["SegmentPrediction", "TheoryCheck", "check_theory"]

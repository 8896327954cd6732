"""UT507: a loss that is a sum, and one of its terms that the shared layers don't hear."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.advice.losses import terms_balanced
from undertow.rules.registry import rule
from undertow.wording import amount, times

DROWNED_BELOW = 1 / 300
LOST_BELOW = 1e-4
AT_ITS_MINIMUM_BELOW = 1e-9
PRIOR_ABOVE = 1.5
"""Of six weightings of a small VAE's divergence those over it (1.9 to 240) collapsed, those under 0.8 did not."""

FAIR_SHARE = 10.0


@rule(
    "UT507",
    "one loss drowns another",
    header=("terms",),
    explains=("UT104", "UT105", "UT205", "UT704"),
)
def drowned(diagnosis: Diagnosis) -> Iterator[Finding]:
    """One term of the loss sends the shared layers next to no gradient beside another.

    What:
        The loss is a sum, and where the paths of its terms have come together the gradient of one is orders of
        magnitude smaller than another's.
    Why it is bad:
        The shared layers learn for the large term alone. The small one is trained by what is left over, if by
        anything, though its value in the log may look as important as the other's.
    Evidence:
        ``ratio`` of the two gradients' norms at the parameters that both reach; ``small`` and ``large``, the norms;
        ``factor``, the constant that the small term is multiplied by. Seen by `examine` only: every term takes a
        backward pass of its own.
    Threshold:
        Under 1/300: beside a balanced twin, a classification beside a regression of two shared layers took 5 times the
        steps at a ratio of 1/30, 8 times at 1/100, 12 times or was never learned at 1/300 (Adam), and SGD lost it from
        1/30 on. Under 1/10,000 nothing learned it: error. A term that was multiplied by a constant under 1 is judged
        by its gradient before that, as somebody wanted it small; a penalty on weights alone is no term, and neither is
        one that sends less than 1e-9 of the other's gradient: it is at its minimum (a divergence between equals), or
        cut off. A term that looks like a latent code's divergence from its prior (noise was drawn, and it reaches the
        encoder alone, through a spread) drowns the others from 1.5 times their gradient at the encoder on.
    What to do:
        Compare the terms' reductions first (a sum over elements beside a mean: KL in a VAE), then their units.
        Weight the terms so that their gradients at the shared layers are of one size, or learn the weights.
    References:
        Kendall, Gal, Cipolla 2018 (uncertainty to weigh losses); Chen et al. 2018 (GradNorm); Lucas et al. 2019 (Don't
        blame the ELBO: collapse by the decoder's variance).
    """
    terms = [term for term in diagnosis.run.header["terms"] if not term["alone"]]
    if len(terms) < 2:
        return
    if (found := _collapsing(terms)) is not None:
        yield found
        return
    large = max(terms, key=lambda term: term["gradient"])
    small = min(terms, key=_unweighted)
    if not large["gradient"] or small is large:
        return
    ratio, weighted = _unweighted(small) / large["gradient"], small["gradient"] / large["gradient"]
    if not AT_ITS_MINIMUM_BELOW < ratio < DROWNED_BELOW:
        return
    text = (
        f"One term of the loss drowns another: at the layers that they share, {_called(small)} sends "
        f"{times(weighted)} gradient than {_called(large)}, and is hardly trained."
    )
    numbers = {
        "ratio": weighted,
        "small": small["gradient"],
        "large": large["gradient"],
        "factor": small["factor"],
    }
    limit = f"a ratio under {DROWNED_BELOW:.2g}"
    severity, equation = Severity.ERROR if ratio < LOST_BELOW else Severity.WARNING, "grad L = sum of w_i grad L_i"
    made = Finding("UT507", "drowned term", severity, (), "the loss", text, numbers, limit, equation)
    yield terms_balanced(small, large, weighted).on(replace(made, source=small["source"]))


def _collapsing(terms: Sequence[Mapping[str, Any]]) -> Finding | None:
    """Return what to say of a divergence from the prior that outweighs the reconstruction at the encoder."""
    prior = max((t for t in terms if t.get("prior")), key=lambda term: float(term["gradient"]), default=None)
    others = [term for term in terms if not term.get("prior")]
    if prior is None or not others:
        return None
    rest = max(others, key=lambda term: float(term["gradient"]))
    if not rest["gradient"] or prior["gradient"] < PRIOR_ABOVE * rest["gradient"]:
        return None
    ratio = float(rest["gradient"] / prior["gradient"])
    text = (
        f"The divergence from the prior drowns the reconstruction: at the encoder {_called(prior)} pulls "
        f"{amount(1 / ratio)} times as hard as {_called(rest)}, and takes out of the latent code what the "
        "decoder needs (posterior collapse)."
    )
    numbers = {"ratio": ratio, "small": float(rest["gradient"]), "large": float(prior["gradient"])}
    limit = f"a divergence's gradient under {PRIOR_ABOVE:g} times the reconstruction's at the encoder"
    equation = "log p(x) >= E log p(x | z) - KL(q(z | x) || p(z))"
    made = Finding("UT507", "drowned term", Severity.WARNING, (), "the loss", text, numbers, limit, equation)
    return terms_balanced(rest, prior, ratio / FAIR_SHARE).on(replace(made, source=prior["source"]))


def _unweighted(term: Mapping[str, Any]) -> float:
    factor = float(term["factor"])
    return float(term["gradient"]) / min(factor, 1.0) if factor else 0.0


def _called(term: Mapping[str, Any]) -> str:
    line = str(term["source"]).rpartition("/")[2]
    return f"the term of value {term['value']:.3g}" + (f" ({line})" if line else "")

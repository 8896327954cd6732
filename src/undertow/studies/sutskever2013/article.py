"""The study's page: its first words, its sections, its table of claims."""

import math

from undertow.render.page import Article
from undertow.render.rows import number
from undertow.studies.pages import claims_section, counted, made_from, taste
from undertow.studies.study import Results
from undertow.studies.sutskever2013.claims import best_method, final
from undertow.studies.sutskever2013.protocol import PAPER_HIDDEN, PAPER_UPDATES
from undertow.studies.sutskever2013.sections import methods, momentum, scales, slow


def article(results: Results) -> Article:
    """The page as blocks."""
    return Article(
        title="Momentum, and a start that is large enough",
        subtitle="Sutskever, Martens, Dahl and Hinton, “On the importance of initialization and momentum in deep learning” (2013), measured again",
        lead=_lead(results),
        sections=[
            methods.question(results),
            momentum.section(results),
            momentum.lowering(results),
            scales.section(results),
            slow.section(results),
            methods.differences(results),
            claims_section(
                results, "the paper says", "What the paper claims, in our words, beside what was measured on this run."
            ),
            methods.methods(results),
        ],
        meta=made_from(results, networks_of_each_kind=str(results["amount"]["members"])),
    )


def _lead(results: Results) -> str:
    amount, claims, best = results["amount"], results["claims"], best_method(results)
    ours, theirs = ("-".join(map(str, hidden)) for hidden in (amount["hidden"], PAPER_HIDDEN))
    times = PAPER_UPDATES / max(results["methods"]["SGD"]["updates"])
    return f"""{taste(results)}Deep autoencoders were held to be beyond plain gradient descent: they were pretrained layer by
layer, or trained by second-order methods. This paper showed that nothing is needed but a start of the right size and
momentum on the right schedule. Here are its experiments on {results["data"]["name"]}, **far smaller**: encoders of {ours} where the paper has
{theirs}, and {max(results["methods"]["SGD"]["updates"]):,} updates, which are {times:,.0f} times fewer. What can be compared is the order of the methods, not their errors.

- **Momentum.** After the same number of updates plain gradient descent is left with a squared error of
  {number(final(results, "SGD"))}, the best method with momentum, {best}, with {number(final(results, best))}.
- **The start.** {_factors(results)}
- Of {len(claims)} claims {counted(results, "yes")} hold here as said, {counted(results, "partly")} in part,
  {counted(results, "no")} not; [each one](#claims) with its numbers.
"""


def _factors(results: Results) -> str:
    small, own = (results["scales"][s]["expected_gain"] for s in ("0.25", "1"))
    depth = 2 * len(results["amount"]["hidden"]) - 1
    lost = math.log10(small) * depth
    return (
        f"Theory says that a layer of a sparse start passes on {own:.2f} of the gradient's length, and of one a quarter as large "
        f"{small:.2f}: over {depth} layers a loss of {-lost:.1f} decades. Such a start has to wait for it."
    )

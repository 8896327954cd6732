"""The study's page: its first words, its sections, its table of claims."""

from undertow.render.page import Article
from undertow.studies.pages import claims_section, counted, made_from, taste
from undertow.studies.remedies.claims import DEEP, faded_and_level, share_trained
from undertow.studies.remedies.sections import factors, gradients, methods, reach
from undertow.studies.study import Results
from undertow.studies.wording import percent


def article(results: Results) -> Article:
    """The page as blocks."""
    return Article(
        title="What makes deep networks trainable?",
        subtitle="Activations, starts, norms, residual connections and optimizers, crossed",
        lead=_lead(results),
        sections=[
            methods.question(results),
            reach.section(results),
            reach.by_depth(results),
            gradients.section(results),
            factors.section(results),
            methods.differences(results),
            claims_section(
                results,
                "it is said",
                "What the literature says of each remedy, in our words, beside what was measured on this run.",
            ),
            methods.methods(),
        ],
        meta=made_from(results, networks=f"{results['amount']['networks']:,}"),
    )


def _lead(results: Results) -> str:
    shares = {h: share_trained(results, h, DEEP) for h in results["factors"]["architecture"]}
    said = ", ".join(f"{h} {percent(share)}" for h, share in shares.items())
    depths = results["factors"]["depth"]
    (faded, few), (level, many) = faded_and_level(results)
    return f"""{taste(results)}Chapter 5 of Nielsen's book ends with obstacles and promises remedies. There are five kinds of them: another
activation, another start, something that rescales the signals between layers, something that lets the gradient pass them by,
another optimizer. Here all are crossed, {results["amount"]["networks"]:,} small networks of {depths[0]} to {depths[-1]} hidden layers, each given
the same few updates. Which ones learn anything at all?

- **Between the layers.** Of all combinations with {DEEP} hidden layers or more, these shares train: {said}.
- **The gradient before the first step** tells much of it. Of {faded} plain networks whose first layer gets less than a
  ten-thousandth of the last one's, {percent(few)} train with the best of the optimizers; of {level} in which the two are within a factor of
  ten, {percent(many)}.
- Of {len(results["claims"])} claims {counted(results, "yes")} hold here as said, {counted(results, "partly")} in part,
  {counted(results, "no")} not; [each one](#claims) with its numbers.
"""

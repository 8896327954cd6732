"""The study's page: its first words, its sections, its table of claims."""

from undertow.render.page import Article
from undertow.studies.glorot2010.claims import escaped, sources, told_escape
from undertow.studies.glorot2010.sections import errors, saturation, starting, surface
from undertow.studies.glorot2010.sections.methods import differences, methods
from undertow.studies.pages import claims_section, counted, made_from, taste
from undertow.studies.study import Results


def article(results: Results) -> Article:
    """The page as blocks."""
    amount = results["amount"]
    return Article(
        title="Saturation, and how large to start",
        subtitle="Glorot and Bengio, “Understanding the difficulty of training deep feedforward neural networks” (2010), measured again",
        lead=_lead(results),
        sections=[
            saturation.question(results),
            saturation.sigmoid(results),
            saturation.others(results),
            starting.section(results),
            starting.through_training(results),
            errors.section(results),
            surface.section(results),
            differences(results),
            claims_section(
                results, "the paper says", "What the paper claims, in our words, beside what was measured on this run."
            ),
            methods(),
        ],
        meta=made_from(results, networks_of_each_kind=str(amount["members"]), hidden_layers=f"5 of {amount['width']}"),
    )


def _escapes(results: Results) -> str:
    said = []
    for source, called in sources(results).items():
        four, five = (told_escape(escaped(results, source, name)) for name in ("sigmoid, 4 layers", "sigmoid"))
        said.append(f"with four hidden layers {four} learn {called}, with five {five}")
    return "; ".join(said)


def _lead(results: Results) -> str:
    amount, claims = results["amount"], results["claims"]
    return f"""{taste(results)}In 2010 deep networks were trained by first training each layer on its own, for trained
from random weights they did badly. Glorot and Bengio asked why, by looking inside: at every layer's activations, at what
comes back to it, and at how both change. This page looks at the same things, in networks of
5 hidden layers of {amount["width"]}, which is **smaller than the paper's 5 × 1,000**, and trains them for less long; where networks
are only looked at before training they have {amount["start_width"]:,} units a layer.

- **The sigmoid's last hidden layer switches itself off** within the first steps, because that is the quickest way to
  lower the cost while the layers below know nothing. It comes back, the later the deeper: {_escapes(results)}.
- **The standard start is too small.** What comes back shrinks by the same factor at every layer, though the gradients of
  the weights hide it: they are about equal in all layers.
- **A start that keeps the variance both ways**, $\\mathrm{{Var}}\\,W = 2/(n_{{in}} + n_{{out}})$, mends that. It is still the
  default of many libraries, under Glorot's name or as “Xavier”.
- Of {len(claims)} claims {counted(results, "yes")} hold here as said, {counted(results, "partly")} in part,
  {counted(results, "no")} not; [each one](#claims) with its numbers.
"""

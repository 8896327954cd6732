"""The chapter's page: its first words, its sections, its table of claims."""

from pathlib import Path
from typing import Any

import numpy as np

from undertow.render.page import Article, Prose, Section
from undertow.studies.chapter5.claims import final_accuracy
from undertow.studies.chapter5.protocol import HIDDEN
from undertow.studies.chapter5.sections import accuracy, descent, explosion, layers, meaning, start, why
from undertow.studies.pages import claims_section, counted, made_from
from undertow.studies.wording import percent

Results = dict[str, Any]


def write(results: Results, out: Path) -> Path:
    """Write ``index.html`` and the figures of ``results`` (as `plan.measure` returns them) into a folder.

    Returns:
        The page.
    """
    return article(results).write(out / "index.html", figures_in=out / "figures")


def article(results: Results) -> Article:
    """The page as blocks."""
    return Article(
        title="Why are deep neural networks hard to train?",
        subtitle="Chapter 5 of Michael Nielsen's book, measured again with many networks in place of one",
        lead=_lead(results),
        sections=[
            accuracy.section(results),
            start.section(results),
            descent.section(results),
            layers.section(results),
            meaning.convergence(results),
            meaning.costs(results),
            why.section(results),
            explosion.section(results),
            claims_section(
                results,
                "the text says",
                "Everything that the chapter's text claims, in our words, beside what was measured on this run.",
            ),
            _methods(results),
        ],
        meta=made_from(results, networks_of_each_kind=str(results["members"])),
    )


def _lead(results: Results) -> str:
    four = np.asarray(results["initial_speed"]["4"]["speed"])
    share = np.median(np.asarray(results["share_of_progress"]["4"]["share"]), 0)
    means = ", ".join(f"{final_accuracy(results, h).mean():.2f}" for h in HIDDEN)
    taste = (
        "**This is a quick taste:** fewer networks and much less training than the chapter has. "
        "Run `undertow chapter5` without `--quick` for the real thing.\n\n"
        if results["quick"]
        else ""
    )
    return f"""{taste}A deep network learns by sending the cost's gradient back from its last layer to its first. In the networks of
this chapter the gradient fades on the way: at the start the first of four hidden layers gets
{np.median(four[:, -1] / four[:, 0]):.0f} times less of it than the last. This page repeats every experiment of the
chapter, with {len(four)} networks where the text shows one at the start and {results["members"]} where it trains one.

- **Depth.** One to four hidden layers reach {means} % on {results["data"]["name"]}, everything else being equal.
- **The front layers stand still, at first.** The first two of four hidden layers make
  {percent(share[0, :2].sum(), 3)} of the first step's progress. Of a step at the end of training they make
  {percent(share[-1, :2].sum())}.
- **The cause** is the sigmoid's derivative, which is never above 1/4. The initial weights, on average, neither add to
  it nor take from it.
- **The text's own measure** of learning speed mixes two things: how large the gradient of each image is, and how much
  of it survives the average over images. Told apart, they tell [more about training](#descent) than its
  curves do.
- Of the text's {len(results["claims"])} claims, {counted(results, "yes")} hold as said,
  {counted(results, "partly")} in part and {counted(results, "no")} not; [each one](#claims) with its numbers.

Rather play than read? [What a gradient is made of](explore.html) has the same product under sliders.
"""


def _methods(results: Results) -> Section:
    return Section(
        "methods",
        "How this was made",
        [
            Prose(
                f"""
                The networks' backpropagation is written out, equation by equation (BP1 to BP4 of the book's chapter
                2), and held to automatic differentiation by tests. Networks of a kind are trained side by side on one
                shared order of mini-batches, so what the last mini-batches happen to be moves all of them a little,
                together. Weights start from $N(0, 1/n_{{in}})$ and biases from $N(0, 1)$, the book's default; with
                weights from $N(0, 1)$, which the text's argument has, its numbers would be out of reach.

                Share of progress: $-\\langle g, \\Delta w \\rangle$ of a layer over the sum of all layers', with
                $\\Delta w = -g$. Put back to "fresh noise": weights from another seed. Differences of means: Welch's
                t-test.

                [The page to play with](explore.html) computes in the reader's browser what `undertow.theory` computes
                here. `results.json` beside this page holds all numbers, `results.schema.json` says what each is, and
                `undertow chapter5 --check` recomputes what can be recomputed quickly: all initial weights, and one
                network of each depth. Repeat with other seeds by `--seed`, with more networks by `--members
                {2 * results["members"]}`.

                **Sources.** M. Nielsen, *Neural Networks and Deep Learning*, 2015, chapters 2, 3 and 5, and the
                recorded curves in its code repository. X. Glorot and Y. Bengio, *Understanding the difficulty of
                training deep feedforward neural networks*, 2010. S. Schoenholz et al., *Deep information
                propagation*, 2017. K. He et al., *Deep residual learning for image recognition*, 2016. MNIST: Y.
                LeCun, C. Cortes, C. Burges.
                """
            )
        ],
    )

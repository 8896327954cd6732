"""What is asked; where these experiments differ from the paper's; how they were made."""

import numpy as np

from undertow.render.page import Callout, Figure, Prose, Section
from undertow.render.pictures import pictures
from undertow.studies.study import Results
from undertow.studies.sutskever2013.claims import best_method
from undertow.studies.sutskever2013.protocol import BATCH_SIZE, METHODS, PAPER_HIDDEN, PAPER_UPDATES
from undertow.studies.sutskever2013.sections.scales import WRITTEN

WORDS = """
An **autoencoder** is given an image and has to give it back, through a **code** of a few numbers in the middle. The **encoder** leads to the
code, the **decoder** back from it, with the same layers in reverse. All units are sigmoids but for those of the code, which are linear.
The **squared error** is summed over pixels and averaged over images.
"""


def question(results: Results) -> Section:
    """The experiment in short, with pictures."""
    best = best_method(results)
    shown = {
        "the images": results["methods"]["SGD"]["shown"],
        "SGD": results["methods"]["SGD"]["pictures"],
        best: results["methods"][best]["pictures"],
        "started at a quarter of the scale": results["scales"]["0.25"]["pictures"],
    }
    return Section(
        "question",
        "What was asked",
        [
            Prose(
                """
                Can a deep autoencoder be trained from random weights by nothing but gradient descent with momentum? And what is it that
                earlier attempts had got wrong?
                """
            ),
            Callout("Words used here", WORDS),
            Figure(
                "reconstructions",
                [
                    pictures(np.asarray(images, float), grey=True, limit=1.0, columns=8, cell=40, title=name)
                    for name, images in shown.items()
                ],
                "Test images given back",
                "Eight test images, and what the first network of a kind makes of them after training.",
                columns=2,
            ),
        ],
    )


def differences(results: Results) -> Section:
    """What is not as in the paper, and what that does."""
    amount, updates = results["amount"], max(results["methods"]["SGD"]["updates"])
    ours, theirs = ("-".join(map(str, hidden)) for hidden in (amount["hidden"], PAPER_HIDDEN))
    return Section(
        "differences",
        "Where this differs from the paper, and why",
        [
            Prose(
                f"""
                - **Size and length.** Encoders of {ours} in place of {theirs}; {updates:,} updates in place of {PAPER_UPDATES:,}, and
                  {max(results["scales"]["1"]["updates"]):,} from the five scales; {amount["members"]} networks of each kind. Errors are an order of magnitude above the
                  paper's. Orders among methods that only show after hundreds of thousands of updates can't show here.
                - **The schedule** of $\\mu$ is shortened, though less than training is: it rises every 750th part of training, in the paper every 3,000th. A memory of
                  $1/(1-\\mu)$ updates can't be shortened. So $\\mu_{{max}} = .999$ is
                  a different thing here: it remembers {1000 / updates:.0%} of the whole training.
                - **Learning rates.** Three for each momentum, from ranges that a trial run showed to hold the best; the paper
                  chooses among six. A best one at the end of its three could be better still beyond it.
                - **Scales.** The same three learning rates are tried at every scale; the best is the largest of them at {_at_the_end(results)}. The
                  paper's networks had more room to choose in and hundreds of times as many updates, in which a slow start is made up for.
                - **Lowering** lasts {amount["lowered_for"]} updates here, {amount["lowered_for"] / updates:.0%} of training; in the paper the last 1,000 are 0.13 %.
                - **Data.** Curves and Faces are quoted and not repeated; the scales, which the paper tries on Curves, are tried on {results["data"]["name"]}.
                - **Batches** of {BATCH_SIZE} images, as in the paper.
                """
            )
        ],
    )


def _at_the_end(results: Results) -> str:
    """The scales whose best learning rate is the largest that was tried."""
    etas = METHODS["0.99N"].etas[: results["amount"]["rates"]]
    there = [WRITTEN[scale] for scale, found in results["scales"].items() if float(found["eta"]) == max(etas)]
    return " and ".join(there) if there else "none"


def methods(results: Results) -> Section:
    """How to repeat it."""
    return Section(
        "methods",
        "How this was made",
        [
            Prose(
                f"""
                Networks are trained by `undertow.lab`, whose backpropagation is written out and held to automatic differentiation by
                tests, and whose momentum methods are held to the paper's equations. All methods start from the same weights and see the
                same mini-batches in the same order. Errors are measured on {results["amount"]["images"]:,} training images. Theory's factors are
                `undertow.theory.meanfield.layer_gain("sigmoid", 15 * s**2)`. `results.json` beside this page holds all numbers,
                `results.parquet` a row for each look at a layer.

                **Source.** I. Sutskever, J. Martens, G. Dahl and G. Hinton, *On the importance of initialization and momentum in deep learning*,
                ICML 2013. The sparse start: J. Martens, *Deep learning via Hessian-free optimization*, ICML 2010.
                """
            )
        ],
    )

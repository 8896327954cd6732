"""Where these experiments differ from the paper's, and how they were made."""

from undertow.render.page import Prose, Section
from undertow.studies.glorot2010.protocol import PAPER_WIDTH
from undertow.studies.study import Results


def differences(results: Results) -> Section:
    """What is not as in the paper, and what that does."""
    amount = results["amount"]
    return Section(
        "differences",
        "Where this differs from the paper, and why",
        [
            Prose(
                f"""
                - **Size.** Trained networks have {amount["width"]} units a layer in place of {PAPER_WIDTH:,}, {amount["members"]} of each kind in
                  place of one, so that ranges can be shown. Narrow layers have less room, and errors are higher than the
                  paper's throughout. What is said of networks before training is measured at a width of {amount["start_width"]:,}.
                - **Length.** {amount["shapes"]:,} shapes and {amount["images"]:,} other images. The paper's figures run over tens of millions of images; its
                  five-layer sigmoid networks had that long to escape and didn't. Ours that are still saturated at the end may
                  be so for want of time: not having escaped is all that can be said. Where a network leaves a plateau in the course of training,
                  as tanh from the standard start does on shapes, its error at the end tells how late it left rather than what it can do.
                - **Learning rates.** Three or four are tried for each network, on a pilot ({amount["pilot"]:,} images, {amount["shapes_pilot"]:,} shapes), which
                  favours those that are quick at first; where no rate gets a network off the plateau in the pilot, the largest is
                  taken.
                - **The weights' gradients** are measured here on single images, and on digits to the end of a training that gets nearly all right; the paper
                  doesn't say how far its networks were. Late gradients are those of the few images that are still wrong.
                - **Shapes.** Grey levels run from −½ to ½. Ours are triangles, rectangles and ellipses where Shapeset-3×2 has triangles, parallelograms and
                  ellipses, from a generator of our own; errors on the two can't be compared number by number. Where shapes are
                  still hard to all networks at the end, the order between the best is that of how quickly they learn.
                - **Data.** Shapes are drawn once and shown in eight positions, turned and mirrored. CIFAR-10 and the small ImageNet are quoted and not repeated.
                - **Saturation** is counted, as the share of units near the ends of their range; the paper shows percentiles and
                  standard deviations of activations.
                """
            )
        ],
    )


def methods() -> Section:
    """How to repeat it."""
    return Section(
        "methods",
        "How this was made",
        [
            Prose(
                """
                Networks of a kind are trained side by side by `undertow.lab`, whose backpropagation is written out and held to
                automatic differentiation by tests; they see the same images in the same order. The images come from
                `undertow.lab.mnist` (or the IDX files that `--data` names) and `undertow.lab.shapeset`. Learning rates are chosen
                on other networks and other shapes than those shown. Sizes of gradients are those of single images, not of their
                averages. `results.json` beside this page holds all numbers, `results.parquet` a row for each look at a layer.

                **Source.** X. Glorot and Y. Bengio, *Understanding the difficulty of training deep feedforward neural
                networks*, AISTATS 2010.
                """
            )
        ],
    )

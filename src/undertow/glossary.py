"""Every word that a finding or a page uses and a reader may not know, in one plain sentence each.

The one source of docs/glossary.md, and of what pages show where such a word is read.
"""

GLOSSARY: dict[str, str] = {
    "activation": "The function between two layers that bends what goes through it, such as ReLU, tanh or the sigmoid.",
    "alignment": (
        "How well a gradient points where a layer's weights are large: 1 if it points anywhere alike, less if it "
        "points where they are small."
    ),
    "attention": "An operation that lets every position of a sequence take from others, more from those that fit it.",
    "backward pass": "The way from the loss back to the first layer, on which every parameter gets its gradient.",
    "cause": "What changes a gradient's size on its way: activations, weights, normalisations, sums and so on.",
    "clipping": "Cutting a gradient that is longer than a limit down to it, so that no single step goes far.",
    "coherence": (
        "How much of the examples' gradients is left when they are averaged: 1 if all agree, next to 0 if they cancel."
    ),
    "converged": "There is nothing left to learn from the data: the examples' gradients cancel in the average.",
    "dead": "A unit is dead if no example gets a gradient through it, so that its weights can't change.",
    "decade": "A factor of ten: a gradient that loses three decades is a thousand times smaller at the end.",
    "epsilon": (
        "A small number that an optimizer or a normalisation adds where it divides, so that it never divides by 0."
    ),
    "exploding gradient": (
        "A gradient that grows from layer to layer on its way back, so that the first layers get far too much."
    ),
    "factor": "What one cause multiplies a gradient by: below 1 it gets smaller; all factors multiply to the gain.",
    "front": "The layers next to the input, to which the gradient has the longest way.",
    "full step": (
        "A step of a watched run in which every layer was measured; in light steps it is the loss and a few numbers."
    ),
    "gain": "The gradient's size behind a part of the network divided by its size before it, on the way back.",
    "gradient": "The direction and size in which a number would have to change for the loss to grow fastest.",
    "gradient path": "The chain of operations that all gradient to the first layers must go through.",
    "initialisation": "How weights are drawn before the first step; He's is made for ReLU, Glorot's for tanh.",
    "join": "A place where branches of the network meet, as at the sum of a residual connection.",
    "learning rate": "The factor by which an optimizer's step is made longer or shorter; lr in PyTorch.",
    "learning speed": (
        "How strongly the loss pulls at a layer: the norm of the gradient of its biases, averaged over the batch."
    ),
    "logits": "What a classifier's last layer returns, any numbers from minus to plus infinity, before a softmax.",
    "loss scale": "A factor by which the loss is multiplied in half precision, so that small gradients don't become 0.",
    "loss spike": "A loss that jumps up from one step to the next and stays up for a while.",
    "memory horizon": "The steps back in time after which a tenth of a recurrent layer's gradient is left.",
    "norm": "The length of all numbers of a gradient together: the root of the sum of their squares.",
    "normalisation": (
        "An operation that subtracts the mean and divides by the standard deviation, such as LayerNorm or BatchNorm."
    ),
    "residual connection": "A way around a layer: its input is added to its output, x = x + layer(x).",
    "saturated": "An activation is saturated where it is flat: its slope there is under a tenth of its steepest.",
    "severity": (
        "How much a finding matters: an error can't learn as it stands, a warning learns better once mended, a "
        "note trains."
    ),
    "share of progress": (
        "The part of a step's improvement of the loss that is due to one layer; all layers' parts sum to 1."
    ),
    "symmetric units": (
        "Units of a layer that have the same weights and get the same gradient, so that they stay alike."
    ),
    "unattributed": "What a gain has beyond the factors that were computed; near 1 it is nothing.",
    "update ratio": "The length of a step divided by the length of the weights it changes; a thousandth is usual.",
    "vanishing gradient": (
        "A gradient that shrinks from layer to layer on its way back, so that the first layers hardly learn."
    ),
    "warm-up": "Raising the learning rate from 0 over the first steps.",
    "waypoint": "A layer or join on the gradient path, at which the gradient's size is told.",
    "weight decay": "A pull of all weights towards 0 in every step, beside what the loss wants.",
}
"""By the word as it is used, in alphabetical order."""


def anchor(word: str) -> str:
    """Return the part behind ``#`` that leads to a word on the page.

    Raises:
        KeyError: the glossary doesn't have it.

    Example:
        >>> anchor("share of progress")
        'share-of-progress'
    """
    if word not in GLOSSARY:
        raise KeyError(f"the glossary has no {word!r}; it has: {', '.join(GLOSSARY)}")
    return word.replace(" ", "-")


def page() -> str:
    """Write the glossary as Markdown; a test holds ``docs/glossary.md`` to it.

    Example:
        >>> page().splitlines()[0]
        '# Glossary'
    """
    parts = ["# Glossary", "The words of undertow's findings and pages, in one sentence each."]
    parts += [f"### {word}\n\n{meaning}" for word, meaning in GLOSSARY.items()]
    return "\n\n".join(parts) + "\n"

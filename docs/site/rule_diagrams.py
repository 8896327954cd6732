"""Drawings of rules about how a network, its loss or its loop is put together: no size shows the fault there.

Each function draws one rule and returns the drawing, its height, and a sentence that says what is seen. Blue is as it
should be, orange is the fault, grey is what gets nothing.
"""

from collections.abc import Callable, Sequence
from html import escape

from undertow.render.palette import CATEGORY_COLOURS, FONT, INK, MUTED

WIDTH = 560
GOOD, BAD, IDLE = CATEGORY_COLOURS[0], CATEGORY_COLOURS[1], "#b8bec6"
PAPER = {GOOD: "#e6f1f8", BAD: "#fbeadf", IDLE: "#f4f5f7"}

Drawing = tuple[str, int, str]
Node = tuple[str, str, str]
"""What a box says, what stands under it, and its colour."""


def text(x: float, y: float, words: str, colour: str = INK, size: int = 12, anchor: str = "middle") -> str:
    """Write words at a place."""
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, wide: float, tall: float, colour: str, dashed: bool = False) -> str:
    """Draw a box with its upper left corner at a place."""
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    size = f'x="{x:g}" y="{y:g}" width="{wide:g}" height="{tall:g}"'
    return f'<rect {size} rx="4" fill="{PAPER[colour]}" stroke="{colour}" stroke-width="1.5"{dash}/>'


def arrow(x: float, y: float, to_x: float, to_y: float, colour: str, wide: float = 2) -> str:
    """Draw an arrow along an axis."""
    across, along = (to_x == x), 1 if (to_x > x or to_y > y) else -1
    tip = [(-4, -7 * along), (4, -7 * along)] if across else [(-7 * along, -4), (-7 * along, 4)]
    corners = " ".join(f"{to_x + dx:g},{to_y + dy:g}" for dx, dy in tip)
    line = f'<path d="M{x:g} {y:g}L{to_x:g} {to_y:g}" stroke="{colour}" stroke-width="{wide:g}"/>'
    return f'{line}<polygon points="{to_x:g},{to_y:g} {corners}" fill="{colour}"/>'


def cross(x: float, y: float) -> str:
    """Draw a cross over what is cut off."""
    return f'<path d="M{x - 6:g} {y - 6:g}l12 12m0 -12l-12 12" stroke="{BAD}" stroke-width="3"/>'


def cell(x: float, y: float, side: float, colour: str) -> str:
    """Draw a filled square."""
    return f'<rect x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" fill="{colour}"/>'


def flow(nodes: Sequence[Node], back: Sequence[str], forward: Sequence[str] = ()) -> str:
    """Draw boxes from the input to the loss, arrows between them, and beneath what comes back: a colour, or "cut"."""
    gap, side = 34, 4
    wide = (WIDTH - 2 * side - gap * (len(nodes) - 1)) / len(nodes)
    drawn = []
    for place, (words, under, colour) in enumerate(nodes):
        x = side + place * (wide + gap)
        drawn += [box(x, 14, wide, 40, colour), text(x + wide / 2, 38, words)]
        drawn += [text(x + wide / 2, 74, under, BAD if colour == BAD else MUTED, 11)] if under else []
    for place, colour in enumerate(back):
        x = side + (place + 1) * (wide + gap) - gap
        drawn.append(arrow(x + 3, 26, x + gap - 3, 26, forward[place] if forward else GOOD))
        drawn.append(cross(x + gap / 2, 44) if colour == "cut" else arrow(x + gap - 3, 44, x + 3, 44, colour))
    return "".join(drawn)


def not_in_the_optimizer() -> Drawing:
    """Draw UT407."""
    body = flow([("layer 0", "stays as it is", BAD), ("layer 2", "moves", GOOD), ("loss", "", GOOD)], [GOOD, GOOD])
    body += box(207, 96, 146, 34, GOOD) + text(280, 117, "optimizer") + arrow(280, 94, 280, 80, GOOD)
    return body, 136, "Gradient comes back to both layers, and the optimizer holds one of them."


def under_epsilon() -> Drawing:
    """Draw UT402."""
    drawn = [text(280, 14, "size of a weight's gradient, a line a decade", MUTED, 11)]
    drawn.append(f'<path d="M20 60H540" stroke="{MUTED}"/>')
    drawn += [f'<path d="M{20 + 40 * k} 56v8" stroke="{MUTED}"/>' for k in range(14)]
    drawn += [f'<path d="M300 24V76" stroke="{BAD}" stroke-width="2"/>', text(300, 90, "epsilon = 1e-8", BAD)]
    drawn += [f'<rect x="100" y="50" width="120" height="20" rx="10" fill="{BAD}"/>', text(160, 44, "here", BAD)]
    drawn += [f'<rect x="400" y="50" width="120" height="20" rx="10" fill="{GOOD}"/>', text(460, 44, "usual", GOOD)]
    return "".join(drawn), 98, "The gradients are smaller than what Adam adds to the divisor: epsilon decides the step."


def under_float16() -> Drawing:
    """Draw UT404."""
    drawn = [text(280, 14, "size of a weight's gradient, a line a decade", MUTED, 11)]
    drawn.append(f'<path d="M20 60H540" stroke="{MUTED}"/>')
    drawn += [f'<path d="M{20 + 40 * k} 56v8" stroke="{MUTED}"/>' for k in range(14)]
    drawn += [
        f'<path d="M300 24V76" stroke="{BAD}" stroke-width="2"/>',
        text(300, 90, "6e-8: less is 0 in float16", BAD),
    ]
    drawn += [
        f'<rect x="100" y="50" width="160" height="20" rx="10" fill="{BAD}"/>',
        text(180, 44, "here: all become 0", BAD),
    ]
    drawn += [f'<rect x="400" y="50" width="120" height="20" rx="10" fill="{GOOD}"/>', text(460, 44, "usual", GOOD)]
    return "".join(drawn), 98, "The gradients are smaller than the smallest number of float16, and become zero."


def decay_dominates() -> Drawing:
    """Draw UT409."""
    drawn = [text(4, 30, "what the loss asks for", GOOD, anchor="start"), arrow(180, 26, 250, 26, GOOD, 3)]
    drawn += [text(4, 62, "what decay takes", BAD, anchor="start"), arrow(540, 58, 180, 58, BAD, 3)]
    drawn += [text(4, 94, "the step", INK, anchor="start"), arrow(470, 90, 180, 90, INK, 3)]
    return (
        "".join(drawn),
        104,
        "The pull of weight decay is longer than the step that the loss asks for, and decides where it goes.",
    )


def step_not_finite() -> Drawing:
    """Draw UT410."""
    nodes = [
        ("gradient", "finite", GOOD),
        ("v = g²", "0 in float16", BAD),
        ("√v + ε", "0 + 0", BAD),
        ("step", "0 / 0 = nan", BAD),
    ]
    body = flow(nodes, [], ()) + "".join(arrow(x, 34, x + 28, 34, BAD) for x in (119, 266, 412))
    return (
        body,
        84,
        "The gradient is finite; squared it is zero in float16, epsilon is zero too, and the step divides by them.",
    )


def unreached() -> Drawing:
    """Draw UT501."""
    nodes = [
        ("layer 0", "gets no gradient", BAD),
        (".detach()", "cuts it off", BAD),
        ("head", "learns", GOOD),
        ("loss", "", GOOD),
    ]
    return (
        flow(nodes, ["cut", "cut", GOOD]),
        84,
        "The gradient comes back as far as detach, and nothing in front of it learns.",
    )


def not_registered() -> Drawing:
    """Draw UT502."""
    nodes = [
        ("layers[0]", "in a plain list", BAD),
        ("layers[1]", "in a plain list", BAD),
        ("head", "an attribute", GOOD),
        ("loss", "", GOOD),
    ]
    body = flow(nodes, [GOOD, GOOD, GOOD]) + box(262, 96, 182, 34, GOOD) + text(353, 117, "model.parameters()")
    return (
        body + arrow(353, 94, 353, 80, GOOD),
        136,
        "All layers get gradient; parameters() lists the head alone, and the optimizer moves no other.",
    )


def squashed_twice() -> Drawing:
    """Draw UT503."""
    nodes = [
        ("logits", "any number", GOOD),
        ("softmax", "in the model", BAD),
        ("0 to 1", "", IDLE),
        ("softmax", "in the loss", BAD),
        ("loss", "keeps a floor", IDLE),
    ]
    return (
        flow(nodes, [IDLE, IDLE, GOOD, GOOD]),
        84,
        "Logits go through softmax in the model and once more inside the loss.",
    )


def broadcast() -> Drawing:
    """Draw UT504."""
    side, many = 14, 6
    drawn = [
        text(60, 14, "output [6, 1]", MUTED, 11),
        text(200, 14, "target [6]", MUTED, 11),
        text(430, 14, "difference [6, 6]", MUTED, 11),
    ]
    drawn += [cell(54, 22 + k * (side + 2), side, GOOD) for k in range(many)]
    drawn += [cell(154 + k * (side + 2), 62, side, GOOD) for k in range(many)]
    drawn += [text(112, 74, "−", INK, 18), text(320, 74, "=", INK, 18)]
    drawn += [
        cell(383 + k * (side + 2), 22 + j * (side + 2), side, GOOD if k == j else BAD)
        for k in range(many)
        for j in range(many)
    ]
    return (
        "".join(drawn),
        124,
        "Six outputs and six targets make 36 differences: six are meant (blue), thirty compare strangers (orange).",
    )


def normalised_alone() -> Drawing:
    """Draw UT505."""
    nodes = [
        ("3.2", "one value", GOOD),
        ("− mean", "3.2 − 3.2", BAD),
        ("0", "whatever it was", BAD),
        ("layer 3", "sees a constant", IDLE),
    ]
    return (
        flow(nodes, ["cut", "cut", IDLE]),
        84,
        "One value minus its own mean is 0, whatever it was: nothing passes forward, no gradient comes back.",
    )


def examples_mixed() -> Drawing:
    """Draw UT506."""
    side, colours = 22, (GOOD, BAD)
    drawn = [
        text(90, 14, "two examples, four steps", MUTED, 11),
        text(290, 14, "transposed", GOOD, 11),
        text(470, 14, "reshaped", BAD, 11),
    ]
    drawn += [cell(40 + k * (side + 2), 30 + j * (side + 2), side, colours[j]) for j in range(2) for k in range(4)]
    drawn += [cell(266 + j * (side + 2), 22 + k * (side + 2), side, colours[j]) for j in range(2) for k in range(4)]
    drawn += [cell(446 + (n % 2) * (side + 2), 22 + (n // 2) * (side + 2), side, colours[n // 4]) for n in range(8)]
    drawn += [arrow(170, 54, 230, 54, MUTED)]
    return "".join(drawn), 126, "Transposed, every column is one example; reshaped, columns hold pieces of both."


def no_step() -> Drawing:
    """Draw UT702."""
    return _loop(
        "backward", "step", lambda _: False, "Backward passes follow one another, and no step follows any of them."
    )


def evaluating() -> Drawing:
    """Draw UT703."""
    drawn, words = [], ["train()", "step", "step", "eval()", "validate", "step", "step", "step"]
    for place, word in enumerate(words):
        colour = BAD if place > 4 or word == "eval()" else GOOD
        drawn += [box(4 + 70 * place, 14, 60, 34, colour), text(34 + 70 * place, 36, word)]
    drawn += [text(556, 68, "nobody called train() again: these steps are in evaluation mode", BAD, 11, "end")]
    return "".join(drawn), 78, "After validation the steps go on in evaluation mode, as nobody called train() again."


def _loop(first: str, then: str, taken: Callable[[int], bool], seen: str) -> Drawing:
    drawn = []
    for place in range(4):
        x, there = 4 + 140 * place, taken(place)
        drawn += [box(x, 14, 72, 34, GOOD), text(x + 36, 36, first)]
        drawn += [
            box(x + 80, 14, 48, 34, GOOD if there else BAD, dashed=not there),
            text(x + 104, 36, then, INK if there else BAD),
        ]
        drawn += [] if there else [cross(x + 104, 31)]
    return "".join(drawn), 58, seen


def out_of_reach() -> Drawing:
    """Draw UT705."""
    drawn = [f'<path d="M20 60H540" stroke="{MUTED}"/>']
    drawn += [
        f'<rect x="40" y="66" width="480" height="14" rx="7" fill="{BAD}"/>',
        text(280, 96, "targets, from −6 to 5", BAD),
    ]
    drawn += [
        f'<rect x="302" y="40" width="44" height="14" rx="7" fill="{GOOD}"/>',
        text(324, 32, "what a sigmoid can return, 0 to 1", GOOD),
    ]
    drawn += [f'<path d="M{302 + 44 * k} 57v6" stroke="{MUTED}"/>' for k in range(-6, 6)]
    return "".join(drawn), 104, "The output can return 0 to 1, and most targets lie beyond."


def symmetric() -> Drawing:
    """Draw UT302."""
    side, shades = 20, (0.9, 0.35, 0.65, 0.2, 0.8, 0.5)
    drawn = [text(133, 14, "weights of four units: all alike", BAD, 11), text(423, 14, "drawn at random", GOOD, 11)]
    for row in range(4):
        for column in range(6):
            alike, apart = shades[column], shades[(5 * row + 7 * column + row * column) % 6]
            for x, colour, shade in ((70, BAD, alike), (360, GOOD, apart)):
                place = cell(x + column * (side + 2), 22 + row * (side + 2), side, colour)
                drawn.append(place.replace("/>", f' fill-opacity="{shade:g}"/>'))
    return (
        "".join(drawn),
        114,
        "Four units with the same weights get the same gradient and stay alike; drawn at random they differ.",
    )


def one_key() -> Drawing:
    """Draw UT203."""
    side, many, chosen = 20, 6, (2, 2, 4, 2, 0, 4)
    drawn = [text(133, 14, "each query looks at one key", BAD, 11), text(423, 14, "usual at the start", GOOD, 11)]
    for row in range(many):
        for column in range(many):
            alone = 1.0 if chosen[row] == column else 0.06
            spread = 0.15 + 0.1 * ((3 * row + 5 * column) % 4)
            for x, colour, shade in ((70, BAD, alone), (360, GOOD, spread)):
                place = cell(x + column * (side + 2), 22 + row * (side + 2), side, colour)
                drawn.append(place.replace("/>", f' fill-opacity="{shade:g}"/>'))
    return (
        "".join(drawn),
        158,
        "A row for each query: all of its weight on one key, where usually it is spread over many.",
    )


def rows_unused() -> Drawing:
    """Draw UT204."""
    used = {5, 20, 37}
    drawn = [text(280, 14, "64 codes: those chosen so far in blue, those never chosen in orange", MUTED, 11)]
    for n in range(64):
        place = cell(106 + (n % 16) * 22, 24 + (n // 16) * 22, 18, GOOD if n in used else BAD)
        drawn.append(place if n in used else place.replace("/>", ' fill-opacity="0.3"/>'))
    return (
        "".join(drawn),
        116,
        "Three codes of 64 are chosen; the others get no gradient and are never nearer to being chosen.",
    )


DIAGRAMS: dict[str, Callable[[], Drawing]] = {
    "UT203": one_key,
    "UT204": rows_unused,
    "UT302": symmetric,
    "UT402": under_epsilon,
    "UT404": under_float16,
    "UT407": not_in_the_optimizer,
    "UT409": decay_dominates,
    "UT410": step_not_finite,
    "UT501": unreached,
    "UT502": not_registered,
    "UT503": squashed_twice,
    "UT504": broadcast,
    "UT505": normalised_alone,
    "UT506": examples_mixed,
    "UT702": no_step,
    "UT703": evaluating,
    "UT705": out_of_reach,
}
"""Rules that a drawing shows better than what was measured."""


def diagram(code: str) -> tuple[str, str]:
    """Return a rule's drawing as SVG, and what is seen in it."""
    body, tall, seen = DIAGRAMS[code]()
    size = f'width="{WIDTH}" height="{tall}" viewBox="0 0 {WIDTH} {tall}"'
    paper = f'<rect width="{WIDTH}" height="{tall}" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}">{paper}{body}</svg>', seen

"""The study's page: question, method, what came out beside what theory and the paper say."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.render.blocks import Cell
from undertow.render.page import Article, Equation, Figure, Prose, Section, Table, Verdict
from undertow.studies.trainability import drawing
from undertow.studies.trainability.claims import NAMES, NOWHERE, factors, lost_losses, rank_correlation, sides
from undertow.studies.trainability.protocol import TRAINED

Results = Mapping[str, Any]


def article(results: Results) -> Article:
    """The page as blocks."""
    return Article(
        title="How deep can a network be?",
        subtitle=f"{results['networks']:,} networks trained over depth and initial variance, with theory’s depth scale over them",
        lead=_lead(results),
        sections=[_question(), _method(results), _tanh(results), _others(results), _biases(results), _budget(results),
                  _claims(results), _differences(results)],
        meta=_meta(results),
    )  # fmt: skip


def _lead(results: Results) -> str:
    taste = (
        "**This is a quick taste:** small networks, trained briefly, and few of them. Run "
        "`undertow study trainability` without `--quick` for the real thing.\n\n"
        if results["quick"]
        else ""
    )
    field = results["maps"]["tanh"]
    within, beyond = sides(field)
    reached = np.asarray(field["deepest"], dtype=float)
    best = [f"{w:g}" for w, d in zip(field["weight_var"], reached, strict=True) if d == reached.max()]
    at = f"a weight variance of {best[0]}" if len(best) == 1 else f"weight variances of {best[0]} to {best[-1]}"
    return f"""{taste}Whether a deep network learns at all is decided before training, by the variances of its first weights and
biases. Mean-field theory turns them into a number of layers, $\\xi_c$, over which two different inputs become alike, or
alike ones different. Schoenholz et al. (2017) found that networks train up to about six times that depth.

Here {results["networks"]:,} networks are trained to see. Of the tanh networks no deeper than $6\\,\\xi_c$,
{_percent(within)} train; of those deeper, {_percent(beyond)}. The deepest that train have {reached.max():.0f} hidden
layers, at {at}; the critical one is {field["critical"]:.3g}.
"""


def _question() -> Section:
    return Section(
        "question",
        "The question",
        [
            Prose(
                """
                Send two images through a network with random weights. Layer by layer their signals become more alike
                (the *ordered* phase) or less alike (the *chaotic* phase), until nothing is left of how alike they were
                at first. Near the end of that road their correlation $c$ approaches its limit $c^*$ exponentially:
                """
            ),
            Equation(
                r"|c^l - c^*| \sim e^{-l/\xi_c}, \qquad \xi_c^{-1} = -\ln\left[\sigma_w^2 \, "
                r"E\,\varphi'(u_1)\,\varphi'(u_2)\right]",
                spoken="the distance of c l from c star falls as e to the minus l over xi c",
            ),
            Prose(
                """
                with $\\sigma_w^2 = n_{in} \\, \\text{Var} \\, W$ and two normal variables $u_1$, $u_2$ whose correlation is $c^*$. Backwards
                it is the gradient that fades in the ordered phase and grows in the chaotic one. Between them, at the
                *critical* variance, $\\xi_c$ is infinite. What the last layer can't tell apart no training can
                classify; so a network much deeper than $\\xi_c$ should not train. Does it?
                """
            ),
        ],
    )


def _method(results: Results) -> Section:
    rows = [
        [NAMES[name], f"{min(f['depth'])} to {max(f['depth'])}", f"{min(f['weight_var']):g} to {max(f['weight_var']):g}",
         f"{f['eta']:g}", f"{f['critical']:.3g}"]
        for name, f in results["maps"].items()
    ]  # fmt: skip
    p = results["protocol"]
    return Section(
        "method",
        "What was trained",
        [
            Prose(
                f"""
                Fully connected networks of {p["width"]} neurons a layer, weights from
                $N(0, \\sigma_w^2/n_{{in}})$ and biases from $N(0, \\sigma_b^2)$ with $\\sigma_b^2 = 0.05$, as in the
                paper; softmax outputs and the log-likelihood cost; plain stochastic gradient descent in mini-batches of
                {p["batch_size"]} for {p["epochs"]} epochs on the first {p["images"]:,} images of
                {results["data"]["name"]}: {p["epochs"] * -(-p["images"] // p["batch_size"]):,} steps. Each setting is
                trained from {_counted(p["seeds"], "seed")}, and counts as trained if on average
                {_percent(TRAINED)} of the images it trained on are right; guessing has 10 %.

                Each activation has one learning rate for all its depths and variances, found by a handful of trials. It
                is one budget for everything, in which networks on the brink get no help.
                """
            ),
            Table(["activation", "hidden layers", "$\\sigma_w^2$", "learning rate", "critical $\\sigma_w^2$"], rows),
        ],
    )


def _tanh(results: Results) -> Section:
    field = results["maps"]["tanh"]
    within, beyond = sides(field)
    found = factors(field)
    factor = (
        f"Where the line is within reach, networks train up to {np.median(found):.1f} $\\xi_c$ (from {found.min():.1f} to "
        f"{found.max():.1f}), where the rule says 6."
        if found.size
        else "In this little field the end of training can't be told from the depths tried."
    )
    return Section(
        "tanh",
        "tanh: the paper’s own map",
        [
            Prose(
                """
                **The paper found** that the networks that train fill the region under a line, on either side of the critical
                variance and for every data set, optimizer and length of training it tried: it lies at about
                $6\\,\\xi_c$. **Here** is the same map, with that line drawn over it.
                """
            ),
            Figure(
                "tanh-map",
                drawing.depth_map(field, ""),
                "Where networks train, and theory’s line",
                "Each field is the mean accuracy, on the images trained with, of networks with that depth and weight "
                "variance. Both axes are logarithmic. Point at a field for its numbers.",
                table=_numbers(field),
                wide=True,
            ),
            Prose(
                f"""
                The line was drawn without training anything. Of the settings under it {_percent(within)} train, of
                those above it {_percent(beyond)}. {factor}

                {_ends(field)}
                """
            ),
        ],
    )


def _ends(field: Mapping[str, Any]) -> str:
    """How networks above the line end, on either side of the critical variance."""
    ordered, chaotic = (lost_losses(field, side) for side in ("ordered", "chaotic"))
    said = []
    if ordered.size:
        said.append(
            "To the left of the critical variance, in the ordered phase, networks far above the line end where they began: all "
            f"images look alike to the last layer. The median loss of those above it is {np.median(ordered):.2f}; that of guessing is "
            f"ln 10 = {NOWHERE:.2f}."
        )
    if chaotic.size:
        said.append(
            "To the right, in the chaotic phase, the last layer sees noise that differs from image to image, and the gradient "
            f"grows on its way back. There the median is {np.median(chaotic):.2f}: the best to be made of noise is to shut it off."
        )
    return " ".join(said)


def _others(results: Results) -> Section:
    names = [name for name in results["maps"] if name != "tanh"]
    return Section(
        "others",
        "ReLU and sigmoid",
        [
            Figure(
                "other-maps",
                [drawing.depth_map(results["maps"][name], NAMES[name], 280) for name in names],
                "The same line for other activations",
                "As above. ReLU has no line from 2 on: there the variance of the signal has no fixed point.",
            ),
            Prose(_of_relu(results) + "\n\n" + _of_sigmoid(results)),
        ],
    )


def _of_relu(results: Results) -> str:
    field = results["maps"]["relu"]
    at = dict(zip(field["weight_var"], field["deepest"], strict=True))
    lost = int(np.nansum(np.asarray(field["diverged"], dtype=float)))
    high = max(at)
    diverged = f" Of the networks on this map {lost} ended in numbers that are not finite." if lost else ""
    beyond = f", at {high:g}, beyond it, of up to {at[high]:.0f}." if high > 2 else "."
    return (
        f"**ReLU** is ordered below $\\sigma_w^2 = 2$, He’s variance, and has no chaotic phase: above 2 it is the signal "
        f"itself that grows with every layer. At 2 networks of up to {at[2.0]:.0f} hidden layers train, at "
        f"{min(at):g} of up to {at[min(at)]:.0f}{beyond}{diverged}"
    )


def _of_sigmoid(results: Results) -> str:
    field = results["maps"]["sigmoid"]
    at = dict(zip(field["weight_var"], zip(field["deepest"], field["expected"], strict=True), strict=True))
    first, most = min(at), max(reached for reached, _ in at.values())
    best = [w for w in at if at[w][0] == most]
    span = f"at {best[0]:g}" if len(best) == 1 else f"from {best[0]:g} to {best[-1]:g}"
    return (
        f"**The sigmoid** explains why the chapter’s networks were hard to train. With the usual variance of "
        f"{first:g} theory gives it {at[first][1]:.1f} layers, and networks of {_layers(at[first][0])} train. Its slope is at most a "
        f"quarter, so that criticality needs variances near {field['critical']:.0f}. On the way there more depth is to be had: "
        f"{span} it is most, {_layers(most)}."
    )


def _biases(results: Results) -> Section:
    field = results["bias_map"]
    trained = np.asarray(field["train_accuracy"], dtype=float).mean(-1) >= TRAINED
    within = np.asarray(field["expected"], dtype=float) >= field["depth"]
    agree = float((trained == within).mean())
    train, fail = float(trained[within].mean()), float(trained[~within].mean())
    return Section(
        "biases",
        "Both variances at one depth",
        [
            Figure(
                "bias-map",
                drawing.bias_map(field),
                f"Which starts let {field['depth']} hidden layers of tanh train",
                f"Mean accuracy on the images trained with. A dot marks the starts of which theory says that "
                f"$6\\,\\xi_c \\ge {field['depth']}$.",
                wide=True,
            ),
            Prose(
                f"""
                The band that trains is the neighbourhood of the critical line, which with more bias variance moves to
                larger weights. Theory and training agree on {_percent(agree)} of these settings: {_percent(train)} of those with a dot
                train, and {_percent(fail)} of those without.
                """
            ),
        ],
    )


def _budget(results: Results) -> Section:
    field = results["maps"]["tanh"]
    reached = np.asarray(field["deepest_by_epoch"], dtype=float)
    first, last, epochs = reached[0], reached[-1], len(reached)
    shape = [f"{rank_correlation(field, each):.2f}" for each in (first, last)]
    return Section(
        "budget",
        "Does it take only longer?",
        [
            Figure(
                "budgets",
                drawing.budgets(field),
                "How deep networks train after one epoch and more",
                f"Depth of the deepest tanh networks that have {_percent(TRAINED)} of the validation images right, after "
                "so many epochs.",
                wide=True,
            ),
            Prose(
                f"""
                The depth scale is a property of the start, the depth reached one of start and budget. After one epoch
                networks of up to {first.max():.0f} layers have learned, after {epochs} of up to {last.max():.0f}; the last
                of these epochs moved the edge at {int((reached[-1] > reached[-2]).sum())} of {len(last)} variances. Which
                variances allow more depth than others is settled from the start: the rank correlation of depth reached
                and 6 $\\xi_c$ is {shape[0]} after the first epoch and {shape[1]} after the last. Where theory sets no bound,
                at the critical variance, the budget does.
                """
            ),
        ],
    )


def _growth(results: Results) -> str:
    """The factor of tanh after every epoch in which the map's depths tell it."""
    field = results["maps"]["tanh"]
    found = [factors(field, epoch) for epoch in range(len(field["deepest_by_epoch"]))]
    told = [f"{np.median(each):.1f}" for each in found if each.size]
    return f"here over the epochs {', '.join(told)}" if told else "which these few depths can't show"


def _claims(results: Results) -> Section:
    rows: list[list[Cell]] = [
        [_set(c["text"]), _set(c["measured"]) + ".", Verdict(c["holds"])] for c in results["claims"]
    ]
    return Section(
        "claims",
        "Claim by claim",
        [Table(["the paper says", "measured here", "holds"], rows, "The claims", id="claim-table", stacked=True)],
    )


def _differences(results: Results) -> Section:
    p = results["protocol"]
    return Section(
        "differences",
        "Where this differs from the paper, and why",
        [
            Prose(
                f"""
                - **Size.** The paper’s networks have 300 neurons a layer and up to 300 layers; these have {p["width"]} and up to
                  {max(results["maps"]["tanh"]["depth"])}, so that the whole map is trained on two cores in minutes. Theory is
                  about infinite width. The narrower a network, the more its own chance decides, and the more so the
                  deeper it is: near the critical variance, where $\\xi_c$ allows any depth, that and the budget bound it.
                - **Budget.** {p["images"]:,} images and {p["epochs"] * -(-p["images"] // p["batch_size"]):,} steps
                  are few. More push the edge outwards (see [](#budgets)): the factor before $\\xi_c$ grows with training,
                  {_growth(results)}. The paper’s 6 is of wider networks, trained for longer.
                - **Learning rate.** One for each activation. A smaller one would train some chaotic networks that are
                  lost here, and a larger one some ordered networks, both by a few layers.
                - **Beyond the paper.** ReLU and the sigmoid. For ReLU from $\\sigma_w^2 = 2$ on there is no
                  fixed point, so no $\\xi_c$, and nothing is claimed of these networks.
                - **Not tried.** The paper also shows that dropout destroys the critical point; these networks have no
                  dropout.

                All networks are members of ensembles whose backpropagation is written out, trained as one
                sweep (`undertow.sweep`): `cells.sweep` beside this page holds every network's results, `results.json` the
                fields. Of a setting's networks the seeds differ; settings share their seeds, so that differences
                between them are paired.

                **Source.** S. Schoenholz, J. Gilmer, S. Ganguli, J. Sohl-Dickstein, *Deep information propagation*,
                ICLR 2017.
                """
            )
        ],
    )


def _set(text: str) -> str:
    """With its formulas as a page sets them."""
    return text.replace("ξ_c", "$\\xi_c$")


def _numbers(field: Mapping[str, Any]) -> Table:
    accuracy = np.asarray(field["train_accuracy"], dtype=float).mean(-1)
    rows = [[d, *(float(f"{a:.2f}") for a in line)] for d, line in zip(field["depth"], accuracy, strict=True)]
    reach = [f"{d:.0f}" if np.isfinite(d) else "–" for d in np.asarray(field["expected"], dtype=float)]
    return Table(["hidden layers", *(f"{w:g}" for w in field["weight_var"])], [*rows[::-1], ["$6\\,\\xi_c$", *reach]])


def _meta(results: Results) -> dict[str, str]:
    environment = results["environment"]
    return {
        "networks": f"{results['networks']:,}",
        "trained in": f"{results['seconds']:.0f} s of one core",
        "data": f"{results['data']['name']}, sha256 {results['data']['sha256'][:16]}",
        "seed": str(results["seed"]),
        "undertow": environment["undertow"],
        "torch": environment["torch"],
        "machine": f"{environment['machine']}, {environment['processors']} processors",
    }


def _layers(depth: float) -> str:
    return "no hidden layer" if not depth else f"{depth:.0f} hidden layer{'' if depth == 1 else 's'}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"

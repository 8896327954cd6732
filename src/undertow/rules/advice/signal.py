"""Advice on signals and gradients that lose or gain their scale: initial weights, activations, normalisation."""

from collections.abc import Iterable, Sequence

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import (
    GAINS,
    LAYERS,
    MODULES,
    activations_exchanged,
    code,
    expression,
    in_place_of,
    list_of,
    put_in_place,
    spelled,
    start_for,
    weights_anew,
)
from undertow.record import Role, Run, Site, main_activation
from undertow.rules.advice import Advice
from undertow.wording import called, few, line_of, over_n, sentence, size

FEW_LINES = 6
"""Layers that lines are written for one by one; more are named in a list."""

SQUASHING = frozenset({"sigmoid", "hardsigmoid", "log_sigmoid"})
"""Activations whose derivative is a quarter at best: no initialisation makes up for it."""

BOUNDED = frozenset({"tanh", "softsign", "hardtanh", "erf"})
"""Activations that pass gradients on well near zero, and hold up what is far from it."""

RECURRENT = frozenset({"RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"})

LARGE = 3.0
"""Root mean square of inputs from which on they are called large."""

CLOSE, FAR = 1.5, 4.0
"""Factors by which weights may be off what is needed without being called the cause: in plain layers, and where sums
of branches make a signal grow."""

NEAR = 0.1
"""Share by which what theory asks for may differ from a usual start without being told."""

MADE_FOR = frozenset({"relu", "leaky_relu", "tanh", "selu"})
"""Activations that an initialisation was made for; others take the nearest."""

_CALLS = {"sigmoid": "torch.sigmoid", "hardsigmoid": "torch.nn.functional.hardsigmoid"}


def kinds_of(sites: Iterable[Site]) -> list[str]:
    """Return the classes of the layers among some Sites."""
    return sorted({site.module_type for site in sites if site.role is Role.WEIGHT and site.module_type in LAYERS})


def drawn_anew(sites: Iterable[Site], activation: str | None, of: str = "") -> list[str]:
    """Write the lines that draw weights anew: those of torch's layers, or where there are none of all matrices."""
    kinds = kinds_of(sites)
    if kinds:
        return weights_anew(kinds, activation, expression(of))
    call = start_for(activation).call.format(weight="weight")
    return [f"for weight in {expression(of)}.parameters():", "    if weight.dim() > 1:", f"        {call}"]


def acting(sites: Iterable[Site], activation: str | None) -> list[Site]:
    """Return the Sites that apply an activation: what a finding and its advice count as layers of it."""
    return [site for site in sites if site.activation == activation]


def weight_variance(diagnosis: Diagnosis, sites: Iterable[Site]) -> float:
    """Return n_in Var W of the layers among some Sites, the median; nan where it isn't known."""
    known = [(s.index, s.n_out) for s in sites if s.role is Role.WEIGHT and s.n_out and s.parameters]
    norms = np.asarray(diagnosis.column("weight_norm")[[index for index, _ in known]], float)
    variances = norms**2 / [n_out for _, n_out in known] if known else norms
    finite = variances[np.isfinite(variances)]
    return float(np.median(finite)) if len(finite) else float("nan")


def against_fading(diagnosis: Diagnosis, sites: Sequence[Site], cause: str, of: str = "") -> Advice:
    """Say what keeps a gradient from fading on its way through some Sites.

    Args:
        diagnosis: whose Sites they are.
        sites: that the gradient goes through.
        cause: what most of the loss is due to, as `cause_of` names it.
        of: path of the module that holds them all, empty for the model.
    """
    activation = main_activation(sites)
    if activation in SQUASHING and cause in ("activation", "weights", "unattributed"):
        return _exchange(sites, activation or "", of)
    if cause == "normalisation":
        return _scales_of_one(sites, of)
    if cause in ("weights", "activation", "unattributed"):
        # Small weights may be what makes an activation flat, too: too little arrives there.
        small = cause == "weights" or weight_variance(diagnosis, sites) < _usual_variance(activation) / CLOSE
        return _drawn(diagnosis, sites, activation, "larger" if small else "smaller", of)
    return _way_around(diagnosis, sites, cause)


def against_growth(diagnosis: Diagnosis, sites: Sequence[Site]) -> Advice:
    """Say what keeps a gradient from growing on its way through some Sites."""
    return _drawn(diagnosis, sites, main_activation(sites), "smaller", "")


def redrawn(diagnosis: Diagnosis, sites: Sequence[Site], activation: str | None, needed: float | None) -> Advice:
    """Say how weights of the wrong size are to be drawn; ``needed``: n_in Var W that would do, None if none would."""
    if needed is None:
        return _exchange(sites, activation or "", "")
    now, usual = weight_variance(diagnosis, sites), _usual_variance(activation)
    near = abs(needed / usual - 1) > NEAR  # the usual start isn't what theory asks for
    keeps = f"{over_n(usual)} is near the {over_n(needed)} that keeps" if near else f"{over_n(needed)} keeps"
    text = f"{sentence(_drawing(activation))}: now it is {over_n(now)}, and {keeps} the gradient's size."
    return Advice(text, code(*drawn_anew(sites, activation)))


def against_saturation(diagnosis: Diagnosis, worst: Site, sites: Sequence[Site]) -> Advice:
    """Say how values get back to where an activation isn't flat."""
    layer, activation = feeding(diagnosis, worst), worst.activation
    rms, given = _comes_in(diagnosis, layer), data_size(diagnosis.run)
    if layer is not None and not diagnosis.run.outgoing[layer.index] and rms > LARGE:
        return smaller_inputs(called(diagnosis.run, layer), rms)
    if worst.module_type in RECURRENT:
        name = f"{worst.module} ({worst.module_type})"
        return smaller_inputs(name, given) if given > LARGE else _recurrence_anew(worst)
    needed = GAINS.get(activation or "", 1.0)
    now = weight_variance(diagnosis, [layer] if layer else [])
    if layer is not None and layer.module_type in LAYERS and not now > CLOSE * needed:
        return _normalised(diagnosis, layer, activation)
    text = (
        f"Start the weights smaller, so that what comes into the {spelled(activation)} stays around 0: "
        f"{_drawing(activation)}"
    )
    text += f". Now it is {over_n(now)}." if np.isfinite(now) else "."
    return Advice(text, code(*drawn_anew(sites, activation)))


def against_dead_units(diagnosis: Diagnosis, found: Sequence[Site]) -> Advice:
    """Say how units come back to life that no example gets a gradient through."""
    activation = found[0].activation
    if found[0].module_type in RECURRENT:
        return _recurrence_anew(found[0])
    layers = list(dict.fromkeys(layer for site in found if (layer := feeding(diagnosis, site)) is not None))
    drawn = [layer for layer in layers if layer.module_type in LAYERS and layer.module]
    names = few([called(diagnosis.run, layer) for layer in layers])
    text = f"Start {names or 'the layers before'} again: {_drawing(activation)}, biases of 0"
    tail = f", or put nn.LeakyReLU in the place of {spelled(activation)}." if activation == "relu" else "."
    optimizer = str(diagnosis.run.header.get("optimizer", "none"))
    stepping = not optimizer.startswith(("none", "not judged"))
    text += f"; if they died while training, with a tenth of {optimizer}'s learning rate" if stepping else ""
    if len(drawn) != 1:
        return Advice(text + tail, code(*drawn_anew(diagnosis.run.sites, activation)))
    return Advice(text + tail, code(*_anew(drawn[0], activation)))


def feeding(diagnosis: Diagnosis, site: Site) -> Site | None:
    """Return the layer whose output comes into a Site, through normalisations and reshapes at most."""
    run = diagnosis.run
    for _ in range(4):
        ways = run.outgoing[site.index]
        if len(ways) != 1:
            return None
        site = run.sites[run.edges[ways[0]].target]
        if site.role is Role.WEIGHT:
            return site
    return None


def different_weights(site: Site, activation: str | None) -> Advice:
    """Say how units that are all alike become different ones."""
    start = start_for(activation)
    weight = next((name for name in site.parameters if "bias" not in name.rpartition(".")[2]), "")
    text = (
        f"Draw the {site.n_out} rows of {weight or site.name} at random"
        + (f", by {start.name} for {spelled(activation)}" if activation else f", by {start.name}")
        + ": a bias may start at 0, a matrix may not start at a constant."
    )
    return Advice(text, code(start.call.format(weight=expression(weight)))) if weight else Advice(text)


def _usual_variance(activation: str | None) -> float:
    """Return n_in Var W of the start that is usual for an activation."""
    return GAINS.get((activation or "").partition("(")[0], 1.0 if activation is None else 2.0)


def _drawing(activation: str | None) -> str:
    start = start_for(activation)
    made = "made" if (activation or "").partition("(")[0] in MADE_FOR else "usual"
    made_for = f", {made} for {spelled(activation)}" if activation else ""
    return f"draw the weights by {start.name} (variance {start.variance} for n inputs{made_for})"


def sums_grow(diagnosis: Diagnosis, sites: Sequence[Site], activation: str | None) -> bool:
    """Tell whether branches that are added up make a gradient grow, and not weights: those are of a usual size."""
    joined = any(site.role is Role.JOIN for site in diagnosis.run.sites)
    return joined and weight_variance(diagnosis, sites) < FAR * _usual_variance(activation)


def _drawn(diagnosis: Diagnosis, sites: Sequence[Site], activation: str | None, than: str, of: str) -> Advice:
    recurrent = _recurrences(sites, than)
    if recurrent is not None:
        return recurrent
    needed = _usual_variance(activation)
    now = weight_variance(diagnosis, sites)
    if than == "smaller" and sums_grow(diagnosis, sites, activation):
        return calmer_branches(diagnosis)
    if now < needed * CLOSE if than == "smaller" else now > needed / CLOSE:
        return _way_around(diagnosis, sites, "depth")
    text = sentence(_drawing(activation))
    text += f": now it is {over_n(now)}." if np.isfinite(now) else f": they must be {than}."
    return Advice(text, code(*drawn_anew(sites, activation, of)))


def _exchange(sites: Sequence[Site], activation: str, of: str) -> Advice:
    found = acting(sites, activation)
    many = f"the {len(found)} {spelled(activation)}s" if len(found) > 1 else f"the {spelled(activation)}"
    text = (
        f"Put ReLU in the place of {many} between the layers: a {spelled(activation)} passes on a quarter of a "
        "gradient at best, whatever the weights. Then draw the weights by He initialisation (variance 2/n, n inputs)."
    )
    anew = drawn_anew(sites, "relu", of)
    if all(site.module_type == MODULES.get(activation) for site in found):
        return Advice(text, code(*activations_exchanged(MODULES[activation], "ReLU", expression(of)), *anew))
    call = _CALLS.get(activation, f"torch.nn.functional.{activation}")
    where = f"forward ({line_of(found[0].source)})" if found and found[0].source else "forward"
    return Advice(text, code(*anew, *in_place_of([f"x = {call}(x)"], ["x = torch.relu(x)"], where)))


def _scales_of_one(sites: Sequence[Site], of: str) -> Advice:
    kinds = sorted({site.module_type for site in sites if site.role is Role.NORM and site.module_type})
    text = f"Let the scales of {few(kinds) or 'the normalisations'} start at 1: small ones pass on as little gradient."
    lines = [
        f"for module in {expression(of)}.modules():",
        f"    if isinstance(module, ({', '.join(f'nn.{kind}' for kind in kinds)},)) and module.weight is not None:",
        "        nn.init.ones_(module.weight)",
    ]
    return Advice(text, code(*lines) if kinds else "")


def _way_around(diagnosis: Diagnosis, sites: Sequence[Site], cause: str) -> Advice:
    """Advise normalisation where the weights are in order, or something else than weights is the cause."""
    layers = [site for site in sites if site.role is Role.WEIGHT and site.module_type == "Linear" and site.module]
    hidden = [site for site in layers if diagnosis.depth[site.index] > 1]
    what = {"depth": "the weights are in order for their activation, and it is the depth that does it"}
    why = what.get(cause, f"most of it is due to {cause}, not to weights or activations")
    text = (
        f"Lead a residual connection around each of the {len(layers) or len(sites)} layers or two (x = x + layer(x)), "
        f"or normalise behind them: {why}."
    )
    lines = _normalised_behind(hidden[::-1], [site for site in layers if diagnosis.depth[site.index] <= 1])
    return Advice(text, code(*lines) if hidden and cause == "depth" else "")


def _normalised_behind(layers: Sequence[Site], others: Sequence[Site]) -> list[str]:
    """Write lines that put a LayerNorm behind each of some linear layers; of many, behind all but the others."""
    if len(layers) <= FEW_LINES:
        named = [(expression(layer.module), layer.n_out) for layer in layers]
        return [f"{name} = nn.Sequential({name}, nn.LayerNorm({n_out}))" for name, n_out in named]
    left = [f'"{site.module}"' for site in others]
    return [
        *list_of(left, "left = [", "]"),
        "for name, layer in list(model.named_modules()):",
        "    if type(layer) is nn.Linear and name not in left:",
        "        behind = nn.Sequential(layer, nn.LayerNorm(layer.out_features))",
        *put_in_place("behind", depth=2),
    ]


def data_size(run: Run) -> float:
    """Return the root mean square of the largest data that came in, 0 where nobody looked."""
    return max((float(fact["rms"]) for fact in run.header.get("data", ())), default=0.0)


def _comes_in(diagnosis: Diagnosis, layer: Site | None) -> float:
    return 0.0 if layer is None else float(np.nan_to_num(diagnosis.column("input_rms")[layer.index]))


def smaller_inputs(name: str, rms: float) -> Advice:
    """Advise to standardise what comes into a layer, of which ``rms`` is the size."""
    text = (
        f"Standardise what comes into {name}: it is of size {size(rms)}, and weights are made for inputs of mean 0 and "
        "deviation 1."
    )
    return Advice(text, code("inputs = (inputs - inputs.mean()) / inputs.std()  # over the training set"))


def _recurrence_anew(site: Site) -> Advice:
    """Advise on the gates and states of a recurrent layer."""
    text = (
        f"Start the weights and biases of {site.module} ({site.module_type}) anew: its activations "
        f"({spelled(site.activation)}) are flat nearly everywhere. If they became so while training, take a tenth of "
        "the learning rate."
    )
    return Advice(text, code(f"{expression(site.module)}.reset_parameters()"))


def _recurrences(sites: Sequence[Site], than: str) -> Advice | None:
    """Advise on recurrent weights, where most layers are recurrent; None where they are not."""
    layers = [site for site in sites if site.role is Role.WEIGHT and site.module]
    modules = list(dict.fromkeys(site.module for site in layers if site.module_type in RECURRENT))
    if 2 * sum(site.module in modules for site in layers) < len(layers) or not modules:
        return None
    text = (
        f"Start the recurrent weights of {few(modules)} as orthogonal matrices, which keep a gradient's size from step "
        f"to step: they must be {than}."
    )
    lines = []
    for module in modules:
        lines += [
            f"for name, weight in {expression(module)}.named_parameters():",
            '    if name.startswith("weight_hh"):',
        ]
        lines += ["        for gate in weight.data.split(weight.shape[1]):", "            nn.init.orthogonal_(gate)"]
    return Advice(text, code(*lines))


def calmer_branches(diagnosis: Diagnosis) -> Advice:
    """Advise on branches that add up to more and more, where their weights are of a usual size."""
    run = diagnosis.run
    ends = [
        site
        for site in run.sites
        if site.role is Role.WEIGHT and site.module_type in LAYERS and _ends_a_branch(run, site)
    ]
    factor = max(len(ends), 1) ** -0.5
    text = "Normalise what goes into each branch (nn.LayerNorm in front of it)"
    if len(ends) > 1:
        text += f", or let the {len(ends)} layers that end one start {factor:.2g} times as large, one over the root of "
        text += "their number"
    text += ": each sum adds to the signal, and the weights themselves are of a usual size."
    names = [expression(site.module) for site in reversed(ends)]
    lines = [*list_of(names, "for layer in [", "]:"), f"    layer.weight.data *= {factor:.2g}"]
    return Advice(text, code(*lines) if len(ends) > 1 else "")


def _ends_a_branch(run: Run, site: Site) -> bool:
    """Tell whether a layer's output is added on, perhaps scaled before."""
    while len(run.incoming[site.index]) == 1:
        site = run.sites[run.edges[run.incoming[site.index][0]].source]
        if site.role is Role.JOIN:
            return True
        if site.op not in ("mul", "div", "native_dropout", "dropout"):
            return False
    return False


def _normalised(diagnosis: Diagnosis, layer: Site, activation: str | None) -> Advice:
    name, kind = expression(layer.module), f"LayerNorm({layer.n_out})"
    if layer.module_type != "Linear":
        kind = f"GroupNorm(1, {layer.n_out})"
    text = (
        f"The weights of {called(diagnosis.run, layer)} are of the right size: what comes into it is too large. "
        f"Normalise its output before the {spelled(activation)} (nn.{kind}), and the inputs to mean 0, deviation 1."
    )
    return Advice(text, code(f"{name} = nn.Sequential({name}, nn.{kind})"))


def _anew(layer: Site, activation: str | None) -> list[str]:
    lines = [start_for(activation).call.format(weight=f"{expression(layer.module)}.weight")]
    if any(name.endswith("bias") for name in layer.parameters):
        lines.append(f"nn.init.zeros_({expression(layer.module)}.bias)")
    return lines

"""UT706: inputs or targets that are orders of magnitude away from 1."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.operations import REGRESSION_LOSSES
from undertow.record import Finding, Role, Severity, Site
from undertow.rules.advice import Advice
from undertow.rules.advice.loop import standardised
from undertow.rules.advice.signal import calmer_branches
from undertow.rules.consequences import PLAIN, optimizer_kind
from undertow.rules.met_data import first_overshoot, inputs, most_varied, pairs, surprise
from undertow.rules.registry import rule
from undertow.rules.ut1_scale import growth, is_exploding
from undertow.wording import amount
from undertow.wording import size as shown

OFF_CENTRE, FAR_OFF_CENTRE = 10.0, 30.0
UNEVEN, VERY_UNEVEN, WIDE = 30.0, 1000.0, 3.0
SMALL, SMALL_IN_ALL, TINY_IN_ALL = 0.1, 0.3, 0.03
LARGE, OVERSHOOT, MISFIT = 10.0, 10.0, 7.0
LARGE_TARGETS, HUGE_TARGETS = 50.0, 3000.0
DROWNS = 30.0
LARGE_OUTPUTS, HUGE_OUTPUTS, HUGE_OUTPUTS_FOR_SGD = 10.0, 50.0, 30.0
LARGE_FOR_SGD, HUGE_FOR_SGD = 30.0, 100.0
MANY_TIMES_THE_OUTPUT = 30.0
SMALL_TARGETS = 0.05
SURE_FOR_SGD, SURE, MANY_CLASSES = 4.0, 8.0, 100
FLAT = 0.8
MANY_TIMES_AN_AVERAGE, LONG = 20.0, 0.1
_OF_TRUTHS = frozenset({"binary_cross_entropy_with_logits", "log_sigmoid"})
_OF_LOGITS = _OF_TRUTHS | {"log_softmax", "logsumexp"}
SURE_FOR_ALL = 80.0


@dataclass(frozen=True)
class Trouble:
    """Something out of scale: a sentence, numbers, whether it can't be learned so, and advice of its own, if any."""

    kind: str
    fact: Mapping[str, Any]
    text: str
    numbers: Mapping[str, float]
    fatal: bool
    source: str
    advice: Advice | None = None


@rule(
    "UT706",
    "scale",
    first_step_only=True,
    explains=(
        "UT101",
        "UT102",
        "UT103",
        "UT104",
        "UT105",
        "UT108",
        "UT109",
        "UT201",
        "UT202",
        "UT203",
        "UT205",
        "UT401",
        "UT402",
        "UT403",
        "UT405",
        "UT406",
        "UT408",
        "UT410",
        "UT507",
        "UT704",
    ),
)
def scale(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Inputs or targets are orders of magnitude away from 1.

    What:
        Features that lie far from zero for their spread, that are tiny, huge, or of very different spread; targets
        much larger or smaller than what the network returns.
    Why it is bad:
        Initial weights and learning rates are made for numbers around 1. An offset common to all examples drowns
        what tells them apart; tiny inputs leave nothing but biases; of uneven features the wide ones alone are seen;
        large ones make steps that overshoot. A network that starts near 0 needs very many steps of Adam to return
        thousands, and SGD diverges on the gradient of such errors.
    Evidence:
        Of the inputs ``mean`` and ``spread`` (root mean squares over features), ``widest`` and ``typical`` feature's
        spread; of the targets ``size`` (root mean square) and ``output``, that of what the network returns at first;
        ``first loss`` and ``surprise``, the same over chance; ``overshoot``, UT408's ``reach``: the most that the first
        step can take off the loss / the loss. `examine` sees them all; a watched run, at its first step, the size of
        inputs and how far off centre they lie, targets of losses that save them (MSE, smooth L1, Huber), and the
        surprise.
    Threshold:
        Networks of three layers (ReLU, tanh; Adam and SGD; regression and classification), by the steps they needed
        beside the standardised twin. Mean over spread 10 (5 to 27 times the steps; error from 30: never); one feature
        30 times as wide as the typical (4 times; error from 1000: never), unless inputs are counts; spread under 0.1
        and of all that a unit sees under 0.3 (3 to 8 times; error under 0.03: never); overshoot of 10 with inputs
        over 3 (never); outputs 7 times the targets' size, of inputs over 10 or targets under 0.05. Targets of 50 (3 to
        6 times; error from 3000: never), with SGD 30 and 100 (it diverges), if the output isn't within a 30th of that.
        Under SGD, inputs over 10 behind which four fifths of the first activation's values are flat, or a gradient at
        logits that is 20 times what a mean of cross-entropies can have (sqrt(2 / n) of n examples), as by rewards of
        thousands, weights, targets that don't sum to 1 or a sum in its place, where a step changes the median layer by
        a tenth.
        Inputs that a batch norm right behind the first layer rescales are none, whatever their size or offset. Of a
        layer that is called with several inputs (a critic) those count that vary most. A first
        loss of 4 times chance with SGD (from 4.6 on four of four networks for digits never learned, up to 2.4 all did);
        of 8 times with others, over 100 classes or more (a language model at 10.6 took 3.6 times the steps; small
        networks under Adam minded nothing up to 22, took up to 4 times the steps at 24 to 65, and never learned at 800:
        from 80 it is told whatever the optimizer). First outputs 10 times the size of targets over 0.05 (2 to 7
        times the steps; from 30 they never learned, or diverged, with SGD, from 50 with Adam: error). Rows of
        a table to which something 30 times as large is added, such as positions (`examine` sees it): a transformer
        took 3 times the steps; of size 30 it never learned (error).
    What to do:
        Subtract every feature's mean and divide by its standard deviation, over the training set; images by 255 or
        their channels' statistics. The same for targets, undone in the prediction; or the log of what spans decades.
        Where the first loss is too large, a smaller start of the last layer.
    References:
        LeCun et al. 1998 (Efficient BackProp), section 4.3; PyTorch forum and the repair of DeepFD's benchmarks
        (Cao et al. 2022).
    """
    grown = is_exploding(growth(diagnosis))  # then outputs that are too large are its work, not the last layer's
    of_logits, of_outputs = (None, None) if grown else (_of_logits(diagnosis), _of_outputs(diagnosis))
    found = list(filter(None, (_of_data(diagnosis), _of_targets(diagnosis), of_logits, _of_the_loss(diagnosis))))
    found = found or list(filter(None, (of_outputs, _of_sums(diagnosis))))
    if not found:
        return
    worst = max(found, key=lambda trouble: trouble.fatal)
    text = " ".join(trouble.text for trouble in found)
    numbers = {key: value for trouble in found for key, value in trouble.numbers.items()}
    loss = diagnosis.run.header.get("loss")
    if isinstance(loss, float) and math.isfinite(loss):
        numbers["first loss"] = loss
    severity = Severity.ERROR if any(trouble.fatal for trouble in found) else Severity.WARNING
    where = " and ".join(dict.fromkeys(trouble.kind for trouble in found))
    limit = f"mean / spread < {OFF_CENTRE:g}, widest / typical < {UNEVEN:g}, targets under {LARGE_TARGETS:g}"
    equation = "z = w x + b with Var w = 1/n: z is of the size of x"
    name = f"scale of the {where.removeprefix('the ')}"
    made = Finding("UT706", name, severity, (), where, text, numbers, limit, equation, source=worst.source)
    yield _advice(found).on(made)


def _advice(found: Sequence[Trouble]) -> Advice:
    """Say what mends them all; of inputs that are out of scale alone, as first outputs follow from these."""
    outputs = [trouble for trouble in found if trouble.kind.startswith("first")]
    of_inputs = any(trouble.kind == "inputs" for trouble in found)
    told = [trouble for trouble in found if not (of_inputs and trouble in outputs)]
    each = [trouble.advice or standardised(trouble.kind, trouble.fact) for trouble in told]
    again = (
        [f"Then look at the {outputs[0].kind} again: as a rule that mends it, too."] if len(told) < len(found) else []
    )
    return Advice(" ".join([*(one.text for one in each), *again]), _imports_first([one.snippet for one in each]))


def _imports_first(snippets: Sequence[str]) -> str:
    lines = [line for snippet in snippets for line in snippet.splitlines()]
    imports = dict.fromkeys(line for line in lines if line.startswith(("import ", "from ")))
    return "\n".join([*imports, *(line for line in lines if line not in imports)])


def _of_data(diagnosis: Diagnosis) -> Trouble | None:
    facts = [each for each in inputs(diagnosis) if each["spread"] > 0]
    normalised, varied = _normalised_first(diagnosis), most_varied(facts)
    for fact in facts:
        vary = _uncentred(fact) or _tiny(fact) if fact in varied else None
        found = _uneven(fact) or (None if normalised else vary or _huge(diagnosis, fact))
        if found is not None:
            return found
    return None


def _of_logits(diagnosis: Diagnosis) -> Trouble | None:
    """Report a first loss far over chance: a start that is sure of wrong answers, which must be unlearned first."""
    times, classes = surprise(diagnosis)
    sgd = diagnosis.run.header.get("optimizer") == "SGD"
    many = times >= SURE and classes >= MANY_CLASSES
    if not (times >= SURE_FOR_SGD if sgd else many or times >= SURE_FOR_ALL):
        return None
    text = (
        f"The first loss is {shown(times * math.log(classes))}, {amount(times)} times that of answering all "
        f"{classes} classes alike: the outputs are so large that the network is sure of wrong answers before it has "
        "learned anything."
    )
    fact = {"times": times, "layer": _last_layer(diagnosis), "what": "all classes are about as likely at first"}
    return Trouble("first loss", fact, text, {"surprise": times}, False, "", _of_branches(diagnosis))


def _of_outputs(diagnosis: Diagnosis) -> Trouble | None:
    """Report first outputs that are many times as large as their targets."""
    times, pair = _misfit(diagnosis), _regression(diagnosis)
    if not (diagnosis.column("weight_grad_norm") > 0).any():
        return None  # what cuts the gradient off keeps the outputs where they are
    if pair is None or times < LARGE_OUTPUTS or _size(pair["target"]) <= SMALL_TARGETS or not math.isfinite(times):
        return None
    sgd = diagnosis.run.header.get("optimizer") == "SGD"
    output, size = float(pair["output"]["rms"]), _size(pair["target"])
    text = (
        f"The network's first outputs are {shown(output)} in size (root mean square), {amount(times)} times as large "
        "as the targets: it must get rid of those before it learns anything."
    )
    fact = {"times": times, "layer": _last_layer(diagnosis), "what": "the first outputs are no larger than the targets"}
    fatal = times >= (HUGE_OUTPUTS_FOR_SGD if sgd else HUGE_OUTPUTS)
    numbers, source = {"size": size, "output": output}, str(pair["source"])
    return Trouble("first outputs", fact, text, numbers, fatal, source, _of_branches(diagnosis))


def _of_sums(diagnosis: Diagnosis) -> Trouble | None:
    """Report rows of a table that drown in what is added to them, such as positions."""
    sums = [each for each in diagnosis.run.header.get("sums", ()) if each["looked up"] > 0]
    worst = max(sums, key=lambda each: float(each["added"] / each["looked up"]), default=None)
    if worst is None or not math.isfinite(worst["added"]) or worst["added"] < DROWNS * worst["looked up"]:
        return None
    times = float(worst["added"] / worst["looked up"])
    text = (
        f"What is looked up in a table is {shown(worst['looked up'])} in size (root mean square), and what is added to "
        f"it {amount(times)} times as large ({shown(worst['added'])}): tokens drown in it, as in positions."
    )
    numbers = {"looked up": float(worst["looked up"]), "added": float(worst["added"])}
    return Trouble("sum", {"times": times}, text, numbers, worst["added"] >= DROWNS, str(worst["source"]))


def _last_layer(diagnosis: Diagnosis) -> str:
    """Return the name of the weights nearest to the loss."""
    heads = [s for s in diagnosis.run.sites if s.role is Role.WEIGHT and s.parameters and diagnosis.depth[s.index] == 1]
    names = [name for name in heads[0].parameters if not name.endswith("bias")] if heads else []
    return names[0] if names else ""


def _of_branches(diagnosis: Diagnosis) -> Advice | None:
    """Return what keeps sums of branches small, where it is they that make outputs large; None where it is not."""
    run = diagnosis.run
    head = next(
        (s for s in run.sites if s.role is Role.WEIGHT and s.parameters and diagnosis.depth[s.index] == 1), None
    )
    large = head is not None and float(diagnosis.column("input_rms")[head.index]) > WIDE
    return calmer_branches(diagnosis) if large and any(site.role is Role.JOIN for site in run.sites) else None


def _of_the_loss(diagnosis: Diagnosis) -> Trouble | None:
    """Report a loss of logits whose gradient is many times what an average over examples can have, under plain SGD."""
    if diagnosis.run.header.get("optimizer") != "SGD":
        return None
    ratio = diagnosis.column("update_ratio")
    steps = [
        float(ratio[s.index]) for s in diagnosis.run.sites if s.role is Role.WEIGHT and np.isfinite(ratio[s.index])
    ]
    times = max((_times_an_average(diagnosis, site) for site in diagnosis.run.sites), default=0.0)
    if times < MANY_TIMES_AN_AVERAGE or not steps or np.median(steps) < LONG:
        return None
    text = (
        f"The loss is large by its weights: at the outputs its gradient is {amount(times)} times what the mean of a "
        f"cross-entropy can have, and a step of SGD changes the median layer by {np.median(steps):.0%}."
    )
    return Trouble("the loss", {"times": times}, text, {"times an average": times}, False, "")


def _times_an_average(diagnosis: Diagnosis, site: Site) -> float:
    """Return how many times as large as can be the gradient is that a mean of log-probabilities sends to logits.

    Of cross-entropy that is sqrt(2 / n) for n examples, of binary cross-entropy sqrt(1 / n) for n outputs.
    """
    run = diagnosis.run
    layer = site.role is Role.WEIGHT and site.n_out and diagnosis.depth[site.index] == 1
    givers = {run.sites[run.edges[edge].source].op for edge in run.incoming[site.index]}
    received = float(diagnosis.column("grad_output")[site.index])
    if not layer or not givers or not givers <= _OF_LOGITS | {"sub"} or not givers & _OF_LOGITS:
        return 0.0
    rows = math.prod(site.shape) / (1 if givers & _OF_TRUTHS else site.n_out)
    return received * math.sqrt(rows / (1 if givers & _OF_TRUTHS else 2)) if math.isfinite(received) else 0.0


def _uncentred(fact: Mapping[str, Any]) -> Trouble | None:
    ratio = fact["mean"] / fact["spread"]
    if ratio < OFF_CENTRE:
        return None
    text = (
        f"The inputs lie far from zero for how little they vary (mean {shown(fact['mean'])}, standard deviation "
        f"{shown(fact['spread'])}; usual are 0 and 1): what all examples have in common drowns what tells them apart."
    )
    return _trouble(fact, text, ratio >= FAR_OFF_CENTRE)


def _uneven(fact: Mapping[str, Any]) -> Trouble | None:
    if not fact.get("typical"):  # a watched run doesn't tell features apart
        return None
    ratio = fact["widest"] / fact["typical"]
    if ratio < UNEVEN or fact["widest"] < WIDE or fact["whole"]:
        return None
    text = (
        f"One input feature has a standard deviation of {shown(fact['widest'])}, a typical one of "
        f"{shown(fact['typical'])}: the network sees the wide ones alone."
    )
    return _trouble(fact, text, ratio >= VERY_UNEVEN)


def _tiny(fact: Mapping[str, Any]) -> Trouble | None:
    in_all = fact["spread"] * math.sqrt(fact["fan_in"])
    if fact["spread"] > SMALL or in_all > SMALL_IN_ALL:
        return None
    text = (
        f"The inputs have a standard deviation of {shown(fact['spread'])} only, where 1 is usual: beside biases of "
        "usual size next to nothing of them is seen. Were they scaled down twice?"
    )
    return _trouble(fact, text, in_all < TINY_IN_ALL)


def _huge(diagnosis: Diagnosis, fact: Mapping[str, Any]) -> Trouble | None:
    overshoot, misfit = _overshoot(diagnosis), _misfit(diagnosis)
    most = f", up to {shown(fact['largest'])}" if "largest" in fact else ""
    size = f"The inputs are large ({shown(fact['rms'])} in root mean square{most}; 1 is usual)"
    if fact["rms"] > WIDE and overshoot >= OVERSHOOT:
        text = f"{size}: the first step overshoots, as it aims at {amount(overshoot)} times the whole loss."
        return _trouble(fact, text, True, {"overshoot": overshoot})
    if fact["rms"] > LARGE and misfit >= MISFIT:
        text = f"{size}: the first outputs are {amount(misfit)} times as large as the targets."
        return _trouble(fact, text, False, {"misfit": misfit})
    large = fact["rms"] > LARGE and optimizer_kind(diagnosis.run) == PLAIN
    flat = _saturated_behind(diagnosis) if large else 0.0
    if flat >= FLAT:
        text = f"{size}: {flat:.0%} of the first layer's values lie where the activation behind it is flat."
        return _trouble(fact, text, False, {"saturated": flat})
    return None


def _saturated_behind(diagnosis: Diagnosis) -> float:
    """Return the largest saturated share of the activations that stand right behind layers that see the data."""
    run, saturated = diagnosis.run, diagnosis.column("saturated")
    behind = {run.edges[edge].source for site in _first_layers(diagnosis) for edge in run.incoming[site.index]}
    return max((float(saturated[site]) for site in behind if np.isfinite(saturated[site])), default=0.0)


def _trouble(fact: Mapping[str, Any], text: str, fatal: bool, more: Mapping[str, float] | None = None) -> Trouble:
    numbers = {key: float(fact[key]) for key in ("mean", "spread", "widest", "typical") if key in fact}
    return Trouble("inputs", fact, text, {**numbers, **(more or {})}, fatal, str(fact["source"]))


def _of_targets(diagnosis: Diagnosis) -> Trouble | None:
    pair = _regression(diagnosis)
    if pair is None:
        return None
    size, output = _size(pair["target"]), float(pair["output"]["rms"])
    sgd = diagnosis.run.header.get("optimizer") == "SGD"
    numbers = {"size": size, "output": output, "spread of targets": float(pair["target"]["spread"])}
    if size >= (LARGE_FOR_SGD if sgd else LARGE_TARGETS) and size >= MANY_TIMES_THE_OUTPUT * output:
        fatal = size >= (HUGE_FOR_SGD if sgd else HUGE_TARGETS)
        way = "so its first errors are huge, and the steps that they make overshoot"
        way = way if sgd else "that is a long way to go in steps of the learning rate"
        text = f"{_beside_outputs(size, output)}: {way}."
        return Trouble("targets", pair["target"], text, numbers, fatal, str(pair["source"]))
    if 0 < size <= SMALL_TARGETS and output >= MISFIT * size:
        text = f"{_beside_outputs(size, output)}: training is spent on getting rid of those."
        return Trouble("targets", pair["target"], text, numbers, False, str(pair["source"]))
    return None


def _beside_outputs(size: float, output: float) -> str:
    return f"The targets are {shown(size)} in size (root mean square), and the network's first outputs {shown(output)}"


def _regression(diagnosis: Diagnosis) -> Mapping[str, Any] | None:
    met = [pair for pair in pairs(diagnosis) if "target" in pair]
    return next((pair for pair in met if pair["op"] in REGRESSION_LOSSES), met[0] if met else None)


def _size(target: Mapping[str, float]) -> float:
    return math.hypot(target["mean"], target["spread"])


def _misfit(diagnosis: Diagnosis) -> float:
    pair = _regression(diagnosis)
    size = 0.0 if pair is None else _size(pair["target"])
    return float(pair["output"]["rms"]) / size if pair is not None and size else 0.0


def _overshoot(diagnosis: Diagnosis) -> float:
    """Return what the first step aims at, as a multiple of the loss: what it can take off, were the loss linear."""
    header = diagnosis.run.header
    reach = float(header["reach"]) if "reach" in header else first_overshoot(diagnosis)
    return reach if math.isfinite(reach) and header.get("loss", 0.0) >= 0 else 0.0


def _normalised_first(diagnosis: Diagnosis) -> bool:
    """Tell whether batch norm stands right behind all layers that see the data."""
    run, first = diagnosis.run, _first_layers(diagnosis)
    return bool(first) and all(
        {run.sites[run.edges[edge].source].op for edge in run.incoming[site.index]} <= _BATCH_NORMS for site in first
    )


def _first_layers(diagnosis: Diagnosis) -> list[Site]:
    run = diagnosis.run
    return [s for s in run.sites if s.role is Role.WEIGHT and s.parameters and not run.outgoing[s.index]]


_BATCH_NORMS = frozenset({"native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"})

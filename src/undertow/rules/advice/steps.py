"""Advice on the optimizer: its learning rate, epsilon, decay, what it holds, and how its steps are taken."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import code, expression, list_of, rate_times, setting
from undertow.rules.advice import Advice
from undertow.wording import few, size, times

USUAL_RATIO = 0.01
"""||dw|| / ||w|| of a step that is neither reckless nor timid at a start."""

SMALLEST_FACTOR = 1e-3
"""By no more than a thousand is a learning rate changed at once: steps that already went wild are no measure."""

BY_A_WARM_UP = 0.01
"""Factor on a learning rate that a warm-up may stand for; what must shrink by more is too large at any step."""

MOST_LISTED = 12
"""Parameters that a line names one by one; more are taken by what the optimizer doesn't hold."""

WILD = 1e3
"""A gradient's norm from which on twice of it is no limit worth clipping at."""

FAR_APART, BY_THE_RATE = 0.1, 1e4
"""Part of the others' learning rate under which one is far from it; and the factor from which on that alone explains
why nothing moves, whatever the gradient is."""

USUAL_RATES = {"SGD": 0.01, "Adagrad": 0.01, "Adadelta": 1.0, "RMSprop": 1e-3}
USUAL_RATE = 1e-3
SMALLEST_EPSILON = 1e-30
TORCHS = frozenset([
    "SGD", "ASGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SparseAdam", "RMSprop", "Rprop", "Adagrad", "Adadelta",
    "Adafactor", "LBFGS", "Muon",
])  # fmt: skip
"""Optimizers of torch.optim by name."""

SCALED_STEP = (
    "optimizer.zero_grad()",
    "scaler.scale(loss).backward()",
    "scaler.step(optimizer)  # and no optimizer.step() beside it",
    "scaler.update()",
)
_HALVES = frozenset({"torch.float16", "torch.bfloat16"})


def optimizer_of(header: Mapping[str, Any]) -> str:
    """Return the optimizer's name for a sentence; "the optimizer" where nobody said."""
    name = str(header.get("optimizer given", header.get("optimizer", "")))
    return "the optimizer" if not name or name.startswith(("none", "not judged")) else name


def shorter_steps(header: Mapping[str, Any], ratio: float, smaller_sums: bool = False) -> Advice:
    """Advise a smaller learning rate, for steps that change weights by ``ratio`` of themselves.

    Args:
        header: of the run.
        ratio: ||dw|| / ||w||.
        smaller_sums: whether to name what else makes a step long: a sum in the place of a mean, momentum near 1.
    """
    factor = min(max(_power(USUAL_RATIO / max(ratio, USUAL_RATIO)), SMALLEST_FACTOR), 0.1)
    text = (
        f"Divide {optimizer_of(header)}'s learning rate by {1 / factor:,.0f}{_from_to(header, factor)}"
        f"{_warm_up(header) if factor >= BY_A_WARM_UP else ''}. A step of a hundredth of the weights is usual at a "
        "start."
    )
    if smaller_sums:
        text += (
            ' A loss that is summed over the batch and not averaged (reduction="sum", or gradients of many batches '
            "added up) makes it as many times longer, momentum of 0.999 a thousand times."
        )
    return Advice(text, code(*rate_times(factor)))


def usual_momentum(optimizer: str, setting: str, swapped: bool) -> Advice:
    """Advise momentum of the usual size."""
    if setting == "betas":
        which = "betas=(0.9, 0.999), in this order" if swapped else "betas=(0.9, 0.999)"
        line = '    group["betas"] = (0.9, 0.999)'
    else:
        which, line = "momentum=0.9", '    group["momentum"] = 0.9'
    text = f"Give {optimizer} {which}, and begin anew: its averages hold what was gathered so far."
    return Advice(text, code("for group in optimizer.param_groups:", line), starts_again=True)


def steps_kept(header: Mapping[str, Any]) -> Advice:
    """Advise on steps that became short while there was much to learn yet."""
    optimizer, shrinks = optimizer_of(header), "a schedule that is stepped too often"
    if optimizer.startswith("Adagrad"):
        shrinks += ", lr_decay, or the sum of squared gradients that Adagrad divides by, which only grows"
    text = f"Look for what makes {optimizer}'s steps shorter and shorter: {shrinks}. Without it, train on."
    lines = ["import torch", "optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)"]
    return Advice(
        text, code(*(lines if optimizer.startswith("Adagrad") else ['print(optimizer.param_groups[0]["lr"])']))
    )


def longer_steps(header: Mapping[str, Any], ratio: float, everywhere: bool) -> Advice:
    """Advise on steps that rounding takes back, in all layers or only in some."""
    if _HALVES & set(header.get("dtypes of steps", header.get("dtypes", ()))):
        text = (
            "Keep the weights in float32, whose digits such steps don't fall below, and compute the forward pass under "
            "torch.autocast."
        )
        return Advice(text, "model.float()  # the weights; call the model under torch.autocast")
    if not everywhere:
        text = (
            f"Where {optimizer_of(header)} has several groups of parameters, give all of them the largest learning "
            "rate, and freeze what shall stay. Where it has one, find what makes their gradient so small."
        )
        lines = [
            'largest = max(group["lr"] for group in optimizer.param_groups)',
            "for group in optimizer.param_groups:",
            '    group["lr"] = largest',
        ]
        return Advice(f"{text} Steps of {ratio:.1e} of the weights don't move them.", code(*lines))
    factor = _power(1e-3 / ratio, up=True) if ratio > 0 else 1000.0
    text = f"Multiply {optimizer_of(header)}'s learning rate by {factor:,.0f}{_from_to(header, factor)}."
    return Advice(text, code(*rate_times(factor)))


def smaller_epsilon(header: Mapping[str, Any], rms: float) -> Advice:
    """Advise an epsilon that lies under the gradient's root mean square."""
    epsilon = max(min(_power(rms / 1000), 1e-12), SMALLEST_EPSILON)
    text = (
        f"Set {optimizer_of(header)}'s epsilon to {epsilon:.0e}: it must lie far under the gradient's root mean square "
        f"of {rms:.1e}. If it is the loss that was scaled down, multiply that by {_power(1e-4 / rms):,.0f} instead."
    )
    return Advice(text, code(*setting("eps", f"{epsilon:.0e}")))


def wider_clipping(norm: float, limit: float, scaled: bool, by_value: bool = False) -> Advice:
    """Advise a limit for clipping that cuts the odd step only, or to unscale before it."""
    if scaled:
        text = "Unscale the gradients before they are clipped: their norm is multiplied by the loss scale until then."
        lines = [
            "# between scaler.scale(loss).backward() and scaler.update():",
            "scaler.unscale_(optimizer)",
            "torch.nn.utils.clip_grad_value_(model.parameters(), limit)  # your own"
            if by_value
            else f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={limit:.2g})",
            "scaler.step(optimizer)",
        ]
        return Advice(text, code(*lines))
    wider = float(f"{2 * norm:.2g}")
    text = (
        f"Clip at {wider:g}, twice the gradient's usual norm, in place of {size(limit, 2)}; if steps are too long "
        "then, lower the learning rate instead."
    )
    lines = [
        "# between loss.backward() and optimizer.step(), in place of your own clipping:",
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={wider:g})",
    ]
    return Advice(text, code(*lines))


def clipped(norm: float | None, header: Mapping[str, Any], by_gradient: bool) -> Advice:
    """Advise against single steps that throw the weights far: clip where a gradient jumped, else shorter steps."""
    limit = _twice(norm)
    usual = f", twice the gradient's usual norm of {norm:.2g}," if norm and norm < WILD else ""
    clip = [
        "# between loss.backward() and optimizer.step():",
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={limit:g})",
    ]
    if by_gradient:
        text = f"Clip the gradient's norm at {limit:g}{usual} and look at the batch of that step."
        return Advice(text, code(*clip))
    text = (
        f"Divide {optimizer_of(header)}'s learning rate by 3{_from_to(header, 0.3)}, and clip the gradient's norm at "
        f"{limit:g}{usual} so that no single batch throws the weights far."
    )
    return Advice(text, code(*rate_times(0.3), *clip))


def from_before(step: int, header: Mapping[str, Any], norm: float | None) -> Advice:
    """Advise to go back to weights from before a collapse."""
    limit = _twice(norm)
    text = (
        f"Go back to a checkpoint from before step {step:,}, or start again, with a tenth of "
        f"{optimizer_of(header)}'s learning rate and the gradient's norm clipped at {limit:g}. The layers that are "
        "lost don't come back by themselves."
    )
    lines = [
        *rate_times(0.1),
        "# and between loss.backward() and optimizer.step():",
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={limit:g})",
    ]
    return Advice(text, code(*lines), starts_again=True)


def warmed_up(broke: int, header: Mapping[str, Any], post_norm: bool) -> Advice:
    """Advise a warm-up, ten times as long as a run without one lasted."""
    steps = max(100, math.ceil(broke / 10) * 100)
    text = (
        f"Raise {optimizer_of(header)}'s learning rate from a hundredth to its full value over the first {steps} steps"
    )
    pre = "put the normalisation in front of each branch (norm_first=True in nn.TransformerEncoderLayer)"
    text += f", or {pre}: with it behind the sum, deep transformers need a warm-up." if post_norm else "."
    lines = [
        f"scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters={steps})",
        "# after every optimizer.step():",
        "scheduler.step()",
    ]
    return Advice(text, code(*lines))


def of_the_whole_model(header: Mapping[str, Any], missing: Sequence[str], foreign: bool) -> Advice:
    """Advise to give the optimizer the parameters it misses."""
    name, lr = optimizer_of(header), header.get("lr")
    kind = f"torch.optim.{name}" if name in TORCHS else "type(optimizer)"
    rate = f", lr={lr:g}" if isinstance(lr, float) else ""
    if foreign or not missing:
        text = (
            f"Make {name} again after the model has its final layers, so that it holds "
            f"{few(missing) or 'what is trained'} of the model that is trained, and the scheduler after that."
        )
        return Advice(text, code(f"optimizer = {kind}(model.parameters(){rate})"))
    text = f"Add {few(missing)} to {name}, or freeze what shall stay as it is by requires_grad_(False)."
    lines = list_of([expression(name) for name in missing], 'optimizer.add_param_group({"params": [', "]})")
    if len(missing) > MOST_LISTED:
        lines = [
            'held = {id(p) for group in optimizer.param_groups for p in group["params"]}',
            'optimizer.add_param_group({"params": [p for p in model.parameters() if id(p) not in held]})',
        ]
    return Advice(text, "\n".join(lines))


def rate_set(header: Mapping[str, Any], names: Sequence[str], rate: float) -> Advice:
    """Advise a learning rate in place of 0; ``names``: of parameters that have none, empty for all."""
    name = optimizer_of(header)
    usual = rate or USUAL_RATES.get(name, USUAL_RATE)
    of = f" of {few(names)}" if names else ""
    text = f"Set {name}'s learning rate{of} to {usual:g}, or step the scheduler that shall raise it."
    lines = ["for group in optimizer.param_groups:", '    if group["lr"] == 0:', f'        group["lr"] = {usual:g}']
    return Advice(text, code(*lines))


def rate_kept(header: Mapping[str, Any], height: float, last: float) -> Advice:
    """Advise on a scheduler that took the learning rate away before the run was over."""
    text = (
        f"Call scheduler.step() as often as its length counts (once an epoch, or once a batch, not both): it brought "
        f"{optimizer_of(header)}'s learning rate from {height:g} to {last:.1g} before the run was over."
    )
    lines = ["for group in optimizer.param_groups:", f'    group["lr"] = {height:g}  # and no more scheduler.step()']
    return Advice(text, code(*lines))


def further_steps(header: Mapping[str, Any], reach: float, enough: float) -> Advice:
    """Advise steps that get somewhere: ``reach`` is what they take off the loss, ``enough`` what they should."""
    name, lr = optimizer_of(header), header.get("lr")
    factor = min(_power(enough / reach, up=True), _most_times(name, lr))
    if name == "Adagrad":
        rate = f", lr={lr:g}" if isinstance(lr, float) else ""
        text = "Let Adagrad's accumulator start at 0: it divides every step by the root of what it starts with."
        line = f"optimizer = torch.optim.Adagrad(model.parameters(){rate}, initial_accumulator_value=0)"
        return Advice(text, code(line))
    text = (
        f"Multiply {name}'s learning rate by {factor:,.0f}{_from_to(header, factor)}, unless the loss is divided twice "
        "(by the batch and by the number of batches, say): then leave one of the divisions out."
    )
    return Advice(text, code(*rate_times(factor)))


def _most_times(name: str, lr: float | None) -> float:
    """Bound by what a learning rate is multiplied: up to ten times what is usual for its optimizer.

    Steps that are too short are a fair measure of longer ones, so the factor may be large: 1e-7 times a thousand is
    still too little.
    """
    if not isinstance(lr, float) or lr <= 0:
        return 1 / SMALLEST_FACTOR
    return max(_power(10 * USUAL_RATES.get(name, USUAL_RATE) / lr), 10.0)


def weaker_decay(header: Mapping[str, Any], pull: float) -> Advice:
    """Advise a weight decay that leaves the loss most of the step."""
    decay = float(header["decay"]["weight_decay"])
    less = _power(decay * min(0.1 / max(pull, 0.1), 0.1))
    name = optimizer_of(header)
    text = f"Set {name}'s weight decay to {less:g} in place of {decay:g}"
    adds = name == "Adam"
    text += ", or take AdamW, whose decay doesn't compete with the gradient." if adds else "."
    return Advice(text, code(*setting("weight_decay", f"{less:g}")))


def epsilon_that_holds(header: Mapping[str, Any], there: float | None) -> Advice:
    """Advise against steps that aren't finite."""
    half = "torch.float16" in header.get("dtypes of steps", header.get("dtypes", ()))
    name = optimizer_of(header)
    if there == 0 and half:
        text = (
            f"Keep the weights in float32 and compute under torch.autocast; or give {name} an epsilon of 1e-4, which "
            "float16 can hold: what is under 6e-8 is 0 there."
        )
        return Advice(text, code(*setting("eps", "1e-4")))
    if there == 0:
        return Advice(f"Give {name} an epsilon of 1e-8: with 0 it divides by zero.", code(*setting("eps", "1e-8")))
    text = f"Divide {name}'s learning rate by 10{_from_to(header, 0.1)}: its step overflows the weights' precision."
    return Advice(text, code(*rate_times(0.1)))


def in_float32(scale: float, weights: bool = False) -> Advice:
    """Advise on gradients that float16 makes zero of; ``weights``: those are float32 already."""
    if weights and scale == 1:
        text = "Scale the loss with a torch.amp.GradScaler, and divide it by no more than the batch; or take bfloat16."
        lines = ["scaler = torch.amp.GradScaler()  # once", *SCALED_STEP]
        return Advice(text, code(*lines))
    text = (
        "Keep the weights in float32 and let torch.autocast compute in float16, with a torch.amp.GradScaler around the "
        "loss; or take bfloat16, which reaches as far down as float32."
    )
    text += f" The loss is scaled by {scale:g} already." if scale != 1 else ""
    return Advice(text, "model.float()  # the weights; call the model under torch.autocast, and scale the loss")


def unequal_rates(diagnosis: Diagnosis, parameters: Collection[str], short_of: float) -> tuple[str, Advice] | None:
    """Advise on layers whose learning rate is far under that of the others, if that is why they learn so little.

    Args:
        diagnosis: whose optimizer it is.
        parameters: of these layers.
        short_of: the factor by which their progress is too little. A rate that is low by less is not the reason.

    Returns:
        What their rate is beside the others', and the advice; None if it isn't the reason, or isn't known.
    """
    rates = _rates(diagnosis)
    own = [rate for name, rate in rates.items() if name in parameters]
    usual, low = _leading_rate(diagnosis, rates, parameters), float(np.median(own)) if own else np.nan
    if usual is None or not low < FAR_APART * usual or low * min(short_of, BY_THE_RATE) > usual:
        return None
    beside = f"their learning rate is {low:.2g}, that of the others {usual:g}"
    text = (
        f"Give these layers the learning rate of the others, {usual:g}: theirs is {low:.2g}"
        f"{', ' + times(low / usual) if low else ''}. What shall stay as it is, freeze by requires_grad_(False)."
    )
    lines = ["for group in optimizer.param_groups:", f'    group["lr"] = max(group["lr"], {usual:g})']
    return beside, Advice(text, code(*lines))


def _rates(diagnosis: Diagnosis) -> Mapping[str, float]:
    """Return the learning rate of every parameter at a step, as far as it is known that they differ."""
    run = diagnosis.run
    rates = run.parameter_columns.get("lr")
    if rates is None or "step" not in run.steps or not len(run.parameter_steps):
        told: Mapping[str, float] = run.header.get("rates", {}).get("of", {})
        return told
    row = int(np.searchsorted(run.parameter_steps, run.steps["step"][diagnosis.step]).clip(0, len(rates) - 1))
    at = np.asarray(rates[row], float)
    return {name: float(rate) for name, rate in zip(run.parameters, at, strict=True) if np.isfinite(rate)}


def _leading_rate(diagnosis: Diagnosis, rates: Mapping[str, float], beside: Collection[str]) -> float | None:
    """Return the learning rate of what makes most of the progress, beside some parameters; None if nobody knows."""
    progress = np.abs(np.nan_to_num(diagnosis.column("progress")))
    for site in np.argsort(-progress):
        known = [name for name in diagnosis.run.sites[site].parameters if name in rates and name not in beside]
        if known:
            return rates[known[0]]
    return None


def _from_to(header: Mapping[str, Any], factor: float) -> str:
    lr = header.get("lr")
    return f" ({lr:g} to {lr * factor:.3g})" if isinstance(lr, float) and lr > 0 else ""


def _warm_up(header: Mapping[str, Any]) -> str:
    lr = header.get("lr")
    full = f"{lr:g}" if isinstance(lr, float) and lr > 0 else "its full value"
    return f", or warm up: let the learning rate rise from 0 to {full} over the first few hundred steps"


def _twice(norm: float | None) -> float:
    """Return a limit for clipping: twice the usual norm, or 1 where that isn't known or went wild already."""
    return float(f"{2 * norm:.1g}") if norm and norm < WILD else 1.0


def _power(value: float, up: bool = False) -> float:
    """Round down to a power of ten, or up."""
    return float(10.0 ** (math.ceil if up else math.floor)(math.log10(value)))

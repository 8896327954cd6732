"""Advice on the training loop and its data."""

from collections.abc import Mapping, Sequence
from typing import Any

from undertow.pytorch_code import code, in_place_of
from undertow.rules.advice import Advice
from undertow.rules.advice.steps import SCALED_STEP, optimizer_of
from undertow.wording import amount, few, line_of, size

_STEP = ["optimizer.zero_grad()", "loss.backward()", "optimizer.step()"]


def zeroed(header: Mapping[str, Any], share: float) -> Advice:
    """Say where gradients are zeroed."""
    text = (
        f"Call optimizer.zero_grad() once a step before loss.backward(), of {optimizer_of(header)} itself: the "
        f"gradient of the step before makes {share:.0%} of what the next takes."
    )
    return Advice(text, code(*_STEP))


def stepped(passes: float, usual: float) -> Advice:
    """Say that a step belongs behind the backward passes."""
    after = "each of them" if usual <= 1 else f"every {usual:.0f} of them"
    text = (
        f"Call optimizer.step() after {after}, and look at the condition that it stands under: {passes:,.0f} backward "
        "passes were made without one."
    )
    return Advice(text, code(*_STEP))


def order_of_steps(kind: str, many: float) -> Advice:
    """Say in which order a step is taken; ``kind``: what is wrong with it."""
    if kind == "cleared":
        text = (
            f"Call zero_grad() before loss.backward(), not between it and the step: {many:.0f} steps had no gradient."
        )
        return Advice(text, code(*_STEP))
    if kind == "stepped_scaled":
        text = (
            f"Call scaler.step(optimizer) in the place of optimizer.step(), which takes gradients that are still "
            f"multiplied by the loss scale ({many:.0f} steps)."
        )
        return Advice(text, code(*SCALED_STEP))
    text = f"Call scaler.step(optimizer) alone: a second optimizer.step() takes what the scaler skipped ({many:.3g})."
    return Advice(text, code(*SCALED_STEP))


def loss_made_finite(share: float) -> Advice:
    """Say what to do where a scaler skips all steps."""
    text = (
        f"Find what makes the loss inf or nan ({share:.0%} of the steps are skipped): no scale mends that. Compute in "
        "bfloat16, or that operation in float32, and stop at the first loss that isn't finite."
    )
    lines = [
        "assert torch.isfinite(loss), loss  # before scaler.scale(loss).backward()",
        "# in place of float16: with torch.autocast(device, dtype=torch.bfloat16), and no scaler",
    ]
    return Advice(text, code(*lines))


def in_training_mode(names: Sequence[str], alone: bool) -> Advice:
    """Say when a model is put into training mode."""
    if alone:
        text = f"If {few(names)} shall follow the data, put them into training mode; on purpose, leave them."
        return Advice(text, "model.train()")
    text = (
        "Call model.train() before the training steps and after every validation: "
        f"{'module' if len(names) == 1 else 'modules'} {few(names)} must not stay in evaluation mode."
    )
    return Advice(text, "model.train()")


def one_batch_by_heart(steps: int, start: float, causes: Sequence[str]) -> Advice:
    """Say how to tell a fault of the network or loop from one of the data."""
    first = f"Mend {' and '.join(causes)} first. Then train" if causes else "Train"
    text = (
        f"{first} on a single batch: if its loss falls from {size(start)} to nothing within {min(steps, 500)} steps, "
        "network and loop are in order, and inputs and targets don't belong together (shuffled apart, a wrong reshape, "
        "constant labels). If it doesn't, try the learning rate ten times up and down."
    )
    lines = [
        "inputs, targets = next(iter(loader))",
        f"for _ in range({min(steps, 500)}):",
        "    optimizer.zero_grad()",
        "    loss = loss_function(model(inputs), targets)",
        "    loss.backward()",
        "    optimizer.step()",
        "print(loss.item())",
    ]
    return Advice(text, code(*lines))


def batches_mixed() -> Advice:
    """Say how every batch gets examples of all classes."""
    text = (
        "Shuffle the training set, so that every batch has examples of all classes: data that lie on disk class by "
        "class come out of a loader without shuffle=True class by class, and shuffling within a batch is no help."
    )
    line = "loader = torch.utils.data.DataLoader(dataset, batch_size=loader.batch_size, shuffle=True)"
    return Advice(text, code(line))


def sign_turned() -> Advice:
    """Say to put the sign in front of a log-likelihood."""
    text = (
        "Minimise the negative log-likelihood: put a minus in front of the loss, or take cross_entropy, which has it."
    )
    return Advice(text, code("loss = -log_likelihood.mean()"))


def standardised(what: str, fact: Mapping[str, Any]) -> Advice:
    """Say how inputs or targets get to the size that networks are made for.

    Args:
        what: ``"inputs"``, ``"targets"``, ``"first loss"``, ``"first outputs"``, ``"sum"`` or ``"the loss"``.
        fact: of a first loss or outputs ``times``, ``layer`` and ``what`` is wanted, of a sum or the loss ``times``;
            else ``mean`` and ``spread``, of inputs also ``shape``, ``op``, ``largest``, ``whole``, ``source``.
    """
    place = line_of(str(fact.get("source", "")))
    if what == "sum":
        text = f"Bring both to one size: what is looked up times {fact['times']:.2g}, or what is added divided by it."
        return Advice(
            text, code(*in_place_of(["x = embedded + positions"], [f"x = embedded + positions / {fact['times']:.2g}"]))
        )
    if what.startswith("first"):
        return _smaller_outputs(float(fact["times"]), str(fact["layer"]), str(fact["what"]))
    if what == "the loss":
        return _smaller_loss(float(fact["times"]))
    if what == "targets":
        text = (
            f"Subtract the targets' mean and divide by their standard deviation ({size(fact['spread'])}), over the "
            "training set, and undo it in predictions: prediction * std + mean."
        )
        lines = [
            "mean, std = targets.mean(0), targets.std(0)  # over the training set",
            "targets = (targets - mean) / std",
        ]
        return Advice(text, code(*lines))
    pixels = fact["op"].startswith("conv") and fact["whole"] and 100 < fact["largest"] <= 255
    dims = [0, *range(2, len(fact["shape"]))] if fact["op"].startswith("conv") else list(range(len(fact["shape"]) - 1))
    kept = ", keepdim=True" if len(dims) > 1 else ""
    axes = f"({', '.join(map(str, dims))})" if len(dims) > 1 else str(dims[0] if dims else 0)
    text = (
        f"Subtract the mean of every {'channel' if len(dims) > 1 else 'feature'} and divide by its standard deviation "
        f"({size(fact['spread'])} now), over the training set, and the same for validation."
    )
    lines = [
        f"mean = inputs.mean({axes}{kept})  # over the training set",
        f"std = inputs.std({axes}{kept})",
        "inputs = (inputs - mean) / (std + 1e-8)",
    ]
    if pixels:
        text = "Divide the images by 255 and centre them, so that pixels lie between -1 and 1."
        lines = ["inputs = inputs / 127.5 - 1"]
    return Advice(text, code(*(in_place_of(["output = model(inputs)"], lines, place) if place and pixels else lines)))


def _smaller_loss(times: float) -> Advice:
    text = (
        f"Bring the loss back to the size of a mean, {amount(times)} times smaller: divide rewards by their standard "
        "deviation, let targets that are probabilities sum to 1, average over the batch and don't sum (or divide SGD's "
        "learning rate by as much)."
    )
    return Advice(text, code(f"loss = loss / {times:.2g}  # before loss.backward()"))


def _smaller_outputs(times: float, layer: str, what: str) -> Advice:
    named = f" ({layer})" if layer else ""
    text = (
        f"Make the starting weights of the last layer{named} smaller, so that {what}. Where they are an embedding's, "
    )
    text += "too, a standard deviation of 0.02 is usual."
    if not layer:
        return Advice(text)
    factor = f"{0.3 / times:.2g}"
    line = f'    model.get_parameter("{layer}").mul_({factor})  # before training'
    return Advice(text, code("with torch.no_grad():", line))


def left_as_stepped() -> Advice:
    """Say what to look for where weights are set back after they were stepped."""
    text = (
        "Look between the steps for what writes to the weights: load_state_dict, copy_ from an average or a target "
        "network in the wrong direction, a checkpoint that is read in the loop. The copy follows the model, not the "
        "model the copy."
    )
    return Advice(text, code("copy.load_state_dict(model.state_dict())  # and not model.load_state_dict(...)"))

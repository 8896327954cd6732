"""Advice on operations that make a gradient zero, or inf and nan of finite numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from undertow.diagnosis import Diagnosis
from undertow.operations import spoken
from undertow.pytorch_code import MODULES, code, expression, in_place_of, rate_times
from undertow.record import Role, Site
from undertow.rules.advice import Advice
from undertow.rules.advice.signal import against_dead_units
from undertow.rules.advice.steps import optimizer_of
from undertow.rules.nonfinite_advice import lines_for, remedy_for
from undertow.wording import called, few, line_of

ALL_OF_THEM = 0.999
_STEPS = {name: f"torch.{name}" for name in ("round", "floor", "ceil", "trunc", "sign")}
_OF_NUMBER = frozenset({"Hardtanh", "ReLU6", "Hardsigmoid", "Hardswish"})


def against_nonfinite(op: str, source: str, subject: str, header: Mapping[str, Any]) -> Advice:
    """Say how an operation stops making inf or nan.

    Args:
        op: torch's name.
        source: ``file:line`` in the user's code, empty where nobody knows.
        subject: where that is, for a sentence.
        header: the Run's, which tells precision and optimizer.
    """
    half = {"torch.float16", "torch.bfloat16"} & {*header.get("dtypes", ()), *header.get("dtypes of steps", ())}
    if spoken(op) in ("matrix product", "convolution") and header.get("dtypes") and not half:
        return _grown(op, subject, header)
    found = remedy_for(op)
    if not found:
        text = (
            f"Look at what goes into {spoken(op) or 'the operation'} in {subject}: compute it in float32, and keep it "
            "away from where it or its derivative is infinite."
        )
        return Advice(
            text, code("torch.autograd.set_detect_anomaly(True)  # names the line, on the next backward pass")
        )
    before, after = lines_for(op)
    place = f" ({line_of(source)})" if source else f" in {subject}" if subject != spoken(op) else ""
    text = f"Mend the {spoken(op)}{place}: {found}."
    return Advice(text, code(*in_place_of(before, after, line_of(source))) if before else "")


def _grown(op: str, subject: str, header: Mapping[str, Any]) -> Advice:
    """Advise on products that overflow float32: what is multiplied has grown without bound."""
    text = (
        f"Look at what the {spoken(op)} in {subject} multiplies: it overflows even float32, so that weights or inputs "
        f"have grown without bound. Start again with a tenth of {optimizer_of(header)}'s learning rate and the "
        "gradient's norm clipped at 1."
    )
    lines = [
        *rate_times(0.1),
        "# between loss.backward() and optimizer.step():",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)",
    ]
    return Advice(text, code(*lines))


def against_nonfinite_inputs(what: str, where: str) -> Advice:
    """Say what to do where numbers were not finite before anything was computed."""
    if what == "an input":
        text = "Look at the data: find the examples that hold inf or nan, and leave them out or mend them."
        return Advice(text, code("assert torch.isfinite(inputs).all(), inputs.isfinite().logical_not().nonzero()"))
    text = f"Start {where} again, or go back to a checkpoint from before: no training makes inf or nan finite again."
    lines = [
        "for name, values in model.state_dict().items():",
        "    if values.is_floating_point() and not torch.isfinite(values).all():",
        "        print(name)",
    ]
    return Advice(text, code(*lines), starts_again=True)


def find_nonfinite(step: int, where: str, header: Mapping[str, Any]) -> Advice:
    """Say how to find the operation where nobody saw it, and what helps most often."""
    half = sorted(each for each in header.get("dtypes", ()) if each in ("torch.float16", "torch.bfloat16"))
    most_often = f"weights in {half[0]} that overflow" if half else f"too long a step of {optimizer_of(header)}"
    text = (
        f"Examine the batch of step {step:,} ({where} showed it first); a check of the loss before every backward pass "
        f"stops there. Most often it is a batch with nan in it, or {most_often}: clip the gradient's norm, and try a "
        "tenth of the learning rate."
    )
    lines = [
        "assert torch.isfinite(loss), loss  # before loss.backward()",
        "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)  # after it",
    ]
    return Advice(text, code(*lines))


def against_cut(diagnosis: Diagnosis, site: Site, why: str, parameters: Sequence[str], zero: set[str]) -> Advice:
    """Say what opens the way that an operation closes."""
    name = called(diagnosis.run, site)
    if "both zero" in why or "frozen weights" in why:
        return _not_both_zero(site, parameters, zero)
    if "dropout" in why:
        return Advice(
            f"Give {name} a p under 1, such as 0.1: p is the part that is dropped.",
            code(f"{expression(site.module)}.p = 0.1"),
        )
    if "subtracted from itself" in why:
        return _not_itself(name, site)
    if "one unit" in why:
        return two_outputs(site, name)
    if "weights go through" in why:
        text = (
            f"Let the gradient reach the weights of {name} past what stands before them: a straight-through estimator."
        )
        before = ["weight = quantised(self.weight)"]
        after = ["weight = self.weight + (quantised(self.weight) - self.weight).detach()"]
        return Advice(text, code(*in_place_of(before, after, line_of(site.source))))
    if "normalisation" in why:
        return without(site, f"Leave {name} out, or normalise over more than one value.")
    if site.op in _STEPS:
        text = f"Let the gradient pass {name} as if it were not there (a straight-through estimator)."
        lines = in_place_of([f"x = {_STEPS[site.op]}(x)"], [f"x = x + ({_STEPS[site.op]}(x) - x).detach()"], _at(site))
        return Advice(text, code(*lines))
    if site.op.startswith(("clamp", "hardtanh")) or site.activation in ("hardtanh(0, 6)", "hardsigmoid"):
        text = f"Widen the limits of {name} to where the values are, or leave it out."
        return without(site, text)
    if site.role is Role.ACTIVATION:
        return _activation(diagnosis, site, name)
    text = f"Lead the gradient around {name}, or take something in its place that has a derivative: {why}."
    return without(site, text)


def _not_itself(name: str, site: Site) -> Advice:
    text = (
        f"Subtract something else than the value itself ({name}): its mean over the batch, where it was taken over an "
        "axis of one number; the output for another input, where two outputs are compared."
    )
    before, after = ["x = x - x.mean(1, keepdim=True)"], ["x = x - x.mean(0, keepdim=True)"]
    return Advice(text, code(*in_place_of(before, after, _at(site))))


def without(site: Site, text: str) -> Advice:
    """Return advice to leave an operation out: its module where it has one of its own, else the call in forward."""
    own = site.module_type in {*MODULES.values(), *_OF_NUMBER, "Softmax", "LogSoftmax"} or site.role is Role.NORM
    if site.module and own:
        return Advice(text, code(f"{expression(site.module)} = nn.Identity()"))
    call = f"torch.{site.op}(x)" if site.role is not Role.NORM else "norm(x)"
    return Advice(text, f"# in {_at(site)}, leave out: x = {call}")


def _activation(diagnosis: Diagnosis, site: Site, name: str) -> Advice:
    if not diagnosis.depth[site.index]:
        return without(site, f"Leave {name} out: behind the last layer nothing should cut the output off.")
    flat = diagnosis.column("dead") > ALL_OF_THEM
    alike = [each for each in diagnosis.run.sites if each.role is Role.ACTIVATION and flat[each.index]]
    found = against_dead_units(diagnosis, alike or [site])
    return Advice(f"All values of {name} lie where it is flat. {found.text}", found.snippet)


def curved_activations() -> Advice:
    """Say what a network needs whose second derivative is asked for."""
    text = "Take activations that are curved, such as tanh, SiLU or sine, in the place of ReLU."
    lines = [
        "for module in list(model.modules()):",
        "    for name, child in module.named_children():",
        "        if isinstance(child, (nn.ReLU, nn.LeakyReLU, nn.Hardtanh)):",
        "            setattr(module, name, nn.Tanh())",
    ]
    return Advice(text, code(*lines))


def drawn_with_gradient() -> Advice:
    """Say how gradient passes what is drawn."""
    text = "Draw by rsample() in the place of sample(), outside of torch.no_grad()."
    return Advice(text, code("# in forward: z = torch.distributions.Normal(mean, deviation).rsample()"))


def means_kept(name: str) -> Advice:
    """Say how a mean over what was normalised keeps what it was of."""
    return Advice(
        f"Leave {name} out, or normalise over other axes than the mean behind it is taken over: batch norm in the "
        "place of instance norm in front of a global pooling, or the pooling first."
    )


def two_outputs(site: Site, name: str) -> Advice:
    """Say what to do with a softmax over one unit."""
    text = (
        f"A softmax over one unit is always 1 ({name}). Give the last layer as many outputs as there are classes; or, "
        "for two classes and one output, leave the softmax out and use binary_cross_entropy_with_logits."
    )
    before = ["loss = torch.nn.functional.cross_entropy(output, targets)"]
    call = "torch.nn.functional.binary_cross_entropy_with_logits"
    after = [f"loss = {call}(output.squeeze(1), targets.float())"]
    if site.module and site.module_type in ("Softmax", "LogSoftmax"):
        after = [f"{expression(site.module)} = nn.Identity()", "# in forward and loop:", *after]
    return Advice(text, code(*in_place_of(before, after, _at(site))))


def _not_both_zero(site: Site, parameters: Sequence[str], zero: set[str]) -> Advice:
    own = [name for name in (*site.parameters, *parameters) if name in zero and "bias" not in name.rpartition(".")[2]]
    own = list(dict.fromkeys(own))
    name = own[-1] if own else ""
    text = (
        f"Start {name or 'one of the two factors'} at random and the other at zero: of a product of two zeros neither "
        f"gets a gradient, and {few(list(parameters))} never learn."
    )
    if not name:
        return Advice(text)
    return Advice(text, code(f"nn.init.normal_({expression(name)}, std=0.02)"))


def _at(site: Site) -> str:
    return f"forward ({line_of(site.source)})" if site.source else "forward"

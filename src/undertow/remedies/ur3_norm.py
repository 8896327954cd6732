"""UR3xx, level C: normalisation, where there is none or in another place."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import put_in_place
from undertow.record import Role
from undertow.remedies.anatomy import NORMS, Anatomy, Part, anatomy, fresh, replace_module, weight_of
from undertow.remedies.branches import branches, put_in_front
from undertow.remedies.changing import on_model
from undertow.remedies.facts import unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

_TRANSFORMER_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


@remedy("UR302", "normalisation behind every hidden layer", "C", ["UT101", "UT102", "UT301", "UT201", "UT108", "UT205"])
def normalise(training: Training, kind: str = "batch") -> Training:
    """Normalise what every hidden layer makes, before its activation.

    What it changes:
        A BatchNorm (or LayerNorm, where rows are positions of a sequence) as a submodule of each hidden layer.
    When:
        A start alone doesn't hold through training, or examples have become alike: LayerNorm doesn't part them again,
        BatchNorm does.
    Predicts:
        Activations of unit scale; the gradient is divided by what the layer's output was.
    References:
        Ioffe, Szegedy 2015; Ba, Kiros, Hinton 2016; Yang et al. 2019 (mean field of BatchNorm).
    """
    return on_model(training, _Normalise(training, kind))


@dataclass(frozen=True)
class _Normalise:
    training: Training
    kind: str

    def __call__(self, model: nn.Module) -> None:
        for part, norm in _norms(anatomy(model, self.training), self.kind):
            part.module.add_module("norm", norm)
            part.module.register_forward_hook(_call_norm)


def _norms(seen: Anatomy, kind: str) -> list[tuple[Part, nn.Module]]:
    if any(isinstance(part.module, NORMS) for part in seen.parts):
        raise ValueError("the model has normalisations already")
    placed = [part for part in seen.hidden if part.calls == 1 and part.made is not None]
    if not placed:
        raise ValueError("the model has no hidden layer that is called once")
    return [(part, _norm(part.made, weight_of(part.module), kind)) for part in placed]


def _norm(made: Tensor | None, weight: Tensor, kind: str) -> nn.Module:
    assert made is not None  # noqa: S101  # the caller looked
    place: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    if kind == "layer" or made.ndim == 1 or (made.ndim == 3 and weight.ndim == 2):
        return nn.LayerNorm(made.shape[-1], **place)
    by_dimension = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    return by_dimension[made.ndim](made.shape[1], **place)


def _call_norm(module: nn.Module, given: Any, made: Tensor) -> Tensor:
    del given
    norm: nn.Module = module.norm  # type: ignore[assignment]  # put there together with this hook
    return norm(made)


@normalise.proposes
def _proposed_norm(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    has = any(site.role is Role.NORM for site in diagnosis.run.sites)
    if not has and codes & {"UT101", "UT102", "UT301", "UT201", "UT108", "UT205", "UT104", "UT706"}:
        yield Proposal({"kind": "batch"}, "the scale of what goes through it is lost", 0.6)
    elif not has and unlearned(diagnosis) and len(diagnosis.layers) > 1:
        yield Proposal({"kind": "batch"}, "the training doesn't learn, and nothing holds its scale", 0.4)


@normalise.written
def _norm_lines(kind: str = "batch") -> str:
    norm = "nn.LayerNorm(width)" if kind == "layer" else "nn.BatchNorm1d(width)"
    return _norm_loop("{}", norm, "  # names of the hidden layers, and what they make")


@normalise.written_for
def _norm_lines_for(training: Training, kind: str = "batch") -> str:
    made = _norms(anatomy(fresh(training), training), kind)
    kinds = {type(norm).__name__: {} for _, norm in made}  # type: dict[str, dict[str, int]]
    for part, norm in made:
        kinds[type(norm).__name__][part.name] = int(_width(norm))
    return "\n".join(_norm_loop(str(places), f"nn.{name}(width)") for name, places in kinds.items())


def _width(norm: nn.Module) -> int:
    return norm.normalized_shape[0] if isinstance(norm, nn.LayerNorm) else norm.num_features  # type: ignore[return-value]


def _norm_loop(places: str, norm: str, remark: str = "") -> str:
    return (
        f"for name, width in {places}.items():{remark}\n"
        "    layer = model.get_submodule(name)\n"
        f"    layer.norm = {norm}\n"
        "    layer.register_forward_hook(lambda layer, given, made: layer.norm(made))"
    )


@remedy("UR305", "normalisation in front of each branch (pre-norm)", "C", ["UT406", "UT101", "UT108", "UT405", "UT205"])
def prenorm(training: Training) -> Training:
    """Let transformer layers, torch's or the user's own, normalise before a branch instead of after the sum.

    What it changes:
        ``norm_first`` of every ``nn.TransformerEncoderLayer`` and ``nn.TransformerDecoderLayer``; a LayerNorm is put
        behind the last of them, where there is none. In blocks of one's own a norm that is given the sum of what a
        branch took and what it made hands that on, and normalises what the branch takes; the last sum gets a new norm.
    When:
        A deep transformer with the normalisation behind the sum breaks without a warm-up.
    Predicts:
        The gradient of a block no longer grows towards the last one.
    References:
        Xiong et al. 2020 (On layer normalization in the transformer architecture).
    """
    if _late(fresh(training)):
        return on_model(training, _prenorm)
    found = branches(training)
    if not found:
        raise ValueError("the model has no sum of a branch and what it took with a normalisation behind it")
    return on_model(training, partial(put_in_front, found=found))


def _late(model: nn.Module) -> list[Any]:
    return [m for m in model.modules() if isinstance(m, _TRANSFORMER_LAYERS) and not m.norm_first]


def _prenorm(model: nn.Module) -> None:
    late = _late(model)
    for layer in late:
        layer.norm_first = True
    for stack in model.modules():
        if isinstance(stack, nn.TransformerEncoder | nn.TransformerDecoder) and stack.norm is None:
            weight = next(stack.parameters())
            width = stack.layers[0].norm1.normalized_shape
            stack.norm = nn.LayerNorm(width, device=weight.device, dtype=weight.dtype)


@prenorm.proposes
def _proposed_prenorm(diagnosis: Diagnosis) -> Iterator[Proposal]:
    found = [finding.code for finding in diagnosis.findings if finding.code in ("UT406", "UT101", "UT108", "UT405")]
    own = {Role.ATTENTION, Role.NORM, Role.JOIN} <= {site.role for site in diagnosis.run.sites}
    if any("Transformer" in site.module_type for site in diagnosis.run.sites):
        yield Proposal({}, "its normalisations stand behind the sums", 0.75 if found else 0.35)
    elif own and (found or unlearned(diagnosis)):
        yield Proposal({}, "its normalisations may stand behind the sums", 0.6)


@prenorm.written
def _prenorm_lines() -> str:
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):\n"
        "        module.norm_first = True\n"
        "    if isinstance(module, (nn.TransformerEncoder, nn.TransformerDecoder)) and module.norm is None:\n"
        "        module.norm = nn.LayerNorm(module.layers[0].norm1.normalized_shape)"
    )


@prenorm.written_for
def _prenorm_lines_for(training: Training) -> str:
    if _late(fresh(training)):
        return _prenorm_lines()
    norms = ", ".join(branch.norm for branch in branches(training))
    return f"# in forward(): x = x + self.branch(self.norm(x)) for x = self.norm(x + self.branch(x)), with {norms}"


@remedy("UR311", "normalisation of each example by itself", "C", ["UT505", "UT703"])
def alone(training: Training) -> Training:
    """Put a GroupNorm of one group in the place of every BatchNorm, so that an example doesn't depend on others.

    What it changes:
        BatchNorm modules; their gains and biases keep their names.
    When:
        Batches are too small for their mean and variance to say anything: of one value, variance is zero.
    Predicts:
        Evaluation and training compute the same function.
    References:
        Wu, He 2018 (Group normalization).
    """
    return on_model(training, _alone)


def _alone(model: nn.Module) -> None:
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not found:
        raise ValueError("the model has no BatchNorm")
    for name, norm in found:
        place = next(norm.parameters(), torch.empty(0))
        replace_module(
            model, name, nn.GroupNorm(1, norm.num_features, affine=norm.affine, device=place.device, dtype=place.dtype)
        )


@alone.proposes
def _proposed_alone(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT505" for finding in diagnosis.findings):
        yield Proposal({}, "normalisation has next to nothing to average over", 0.9)
    elif any("batch_norm" in site.op or "BatchNorm" in site.module_type for site in diagnosis.run.sites):
        yield Proposal({}, "examples depend on the others of their batch", 0.25)


@alone.written
def _alone_lines() -> str:
    return (
        "kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)\n"
        "for name, norm in [(n, m) for n, m in model.named_modules() if isinstance(m, kinds)]:\n"
    ) + "\n".join(put_in_place("nn.GroupNorm(1, norm.num_features, affine=norm.affine)"))

"""The part of a tensor that lies on this process, where one tensor lies on several (DTensor, FSDP2)."""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def is_sharded(tensor: Tensor) -> bool:
    """Tell whether a tensor is a DTensor: one tensor whose parts lie on several processes."""
    distributed = sys.modules.get("torch.distributed.tensor")
    return distributed is not None and isinstance(tensor, distributed.DTensor)


def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that lies on this process, without asking any other."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]  # a DTensor's method


def local_parts(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return `local` of each tensor."""
    distributed = sys.modules.get("torch.distributed.tensor")
    if distributed is None:
        return tensors
    sharded = distributed.DTensor
    return [each.to_local() if isinstance(each, sharded) else each for each in tensors]


def answers_for(parameter: Tensor) -> bool:
    """Tell whether this process is the first of those that have a copy of the same part."""
    if not is_sharded(parameter):
        return bool(torch.distributed.get_rank() == 0)
    coordinates = parameter.device_mesh.get_coordinate() or []  # type: ignore[attr-defined]
    placements = parameter.placements  # type: ignore[attr-defined]
    return all(at == 0 for at, each in zip(coordinates, placements, strict=True) if each.is_replicate())


def own_part(norm: Tensor) -> Tensor:
    """Return this process's part of a norm: zero where the norm is the whole's and another process answers for it."""
    return local(norm) if not is_sharded(norm) or answers_for(norm) else torch.zeros_like(local(norm))


def unsharded_names(model: nn.Module) -> dict[int, str]:
    """Find the names of the whole parameters that FSDP2 computes with while a module runs, by ``id``."""
    found = {}
    for path, module in model.named_modules():
        state = getattr(module, "_get_fsdp_state", None)
        for group in _groups(state()) if state is not None else ():
            for parameter in group.fsdp_params:
                whole = getattr(parameter, "_unsharded_param", None)
                if whole is not None:
                    found[id(whole)] = _name(path, model, parameter._module_info)
    return found


def _groups(state: Any) -> list[Any]:
    # Newer torch lets a module have several groups, under another name.
    many = getattr(state, "_fsdp_param_groups", None)
    one = getattr(state, "_fsdp_param_group", None) if not many else None
    return list(many) if many else [one] if one is not None else []


def _name(path: str, model: nn.Module, info: Any) -> str:
    """Name a parameter by the module that holds it: the one that FSDP was applied to, or one in it."""
    around = model.get_submodule(path)
    inside = next((name for name, module in around.named_modules() if module is info.module), "")
    return ".".join(part for part in (path, inside, info.param_name) if part)

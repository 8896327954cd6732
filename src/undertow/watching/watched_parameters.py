"""Which parameters are watched, what they are called, and which part of them lies on this process."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module, without what compiles it or runs it in parallel: names are its own."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in ("DistributedDataParallel", "DataParallel"):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def compiled(model: nn.Module) -> bool:
    """Whether any part of it was handed to torch.compile."""
    return any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )


def innermost(optimizer: Any) -> Any:
    """The optimizer that takes the steps, behind those that pass them on (Accelerate's, Lightning's)."""
    while not _own_hooks(optimizer) and (inner := getattr(optimizer, "optimizer", None)) is not None:
        optimizer = inner
    return optimizer


def _own_hooks(optimizer: object) -> bool:
    return "_optimizer_step_post_hooks" in getattr(optimizer, "__dict__", {})


@dataclass(slots=True)
class Member:
    """A parameter: its name, itself, and the parameter group of the optimizer that it is in.

    Attributes:
        counts: whether this process answers for its part: of copies of one part only one must be added up.
    """

    name: str
    parameter: nn.Parameter
    group: dict[str, Any]
    counts: bool = True

    @property
    def lr(self) -> float | Tensor:
        """The learning rate; a tensor where the optimizer keeps it on the device."""
        return self.group.get("lr", float("nan"))


class Members:
    """The parameters of a model that optimizers hold, in the model's order.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> members = Members(net, [torch.optim.SGD(net.parameters(), lr=0.5)])
        >>> [(member.name, member.lr) for member in members.of(0)]
        [('weight', 0.5), ('bias', 0.5)]
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self._model, self._optimizers = model, optimizers
        self._sizes: list[int] = []
        self._by_optimizer: list[list[Member]] = []
        self._parameters: list[list[nn.Parameter]] = []
        self.sharded = False
        self.refresh()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all, in the model's order."""
        return self._names

    def of(self, optimizer: int) -> list[Member]:
        """Those of one optimizer, up to date: layers may have been added, and weights replaced."""
        if self._sizes != self._count():
            self.refresh()
        return self._by_optimizer[optimizer]

    def gradients(self, optimizer: int) -> tuple[list[Member], list[Tensor | None]]:
        """Those of one optimizer, with the gradient of each."""
        members = self.of(optimizer)
        return members, [p.grad for p in self._parameters[optimizer]]

    def refresh(self) -> None:
        """Look who is there."""
        self._sizes = self._count()
        named = {id(p): (place, name) for place, (name, p) in enumerate(self._model.named_parameters())}
        self.sharded = any(is_sharded(p) for p in self._model.parameters())
        found = []
        for optimizer in self._optimizers:
            mine = {id(p): (p, group) for group in optimizer.param_groups for p in group["params"] if id(p) in named}
            order = sorted(mine, key=lambda key: named[key][0])
            found.append([self._member(named[key][1], *mine[key]) for key in order])
        self._by_optimizer = found
        self._parameters = [[m.parameter for m in each] for each in found]
        self._names = tuple(name for _, name in sorted(named[id(m.parameter)] for each in found for m in each))

    def _member(self, name: str, parameter: nn.Parameter, group: dict[str, Any]) -> Member:
        return Member(name, parameter, group, answers_for(parameter) if self.sharded else True)

    def _count(self) -> list[int]:
        return [len(group["params"]) for optimizer in self._optimizers for group in optimizer.param_groups]

    def __iter__(self) -> Iterator[Member]:
        for members in self._by_optimizer:
            yield from members


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor: one tensor whose parts lie on several processes."""
    distributed = sys.modules.get("torch.distributed.tensor")
    return distributed is not None and isinstance(tensor, distributed.DTensor)


def local(tensor: Tensor) -> Tensor:
    """The part of it on this process, without asking any other."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]  # a DTensor's method


def parts(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """`local` of each."""
    distributed = sys.modules.get("torch.distributed.tensor")
    if distributed is None:
        return tensors
    sharded = distributed.DTensor
    return [each.to_local() if isinstance(each, sharded) else each for each in tensors]


def answers_for(parameter: Tensor) -> bool:
    """Whether this process is the first of those that have a copy of the same part."""
    if not is_sharded(parameter):
        return bool(torch.distributed.get_rank() == 0)
    coordinates = parameter.device_mesh.get_coordinate() or []  # type: ignore[attr-defined]
    placements = parameter.placements  # type: ignore[attr-defined]
    return all(at == 0 for at, each in zip(coordinates, placements, strict=True) if each.is_replicate())


def own_part(norm: Tensor) -> Tensor:
    """This process's part of a norm: nothing, where the norm is the whole's and another process answers for it."""
    return local(norm) if not is_sharded(norm) or answers_for(norm) else torch.zeros_like(local(norm))


def unsharded_names(model: nn.Module) -> dict[int, str]:
    """Names of the whole parameters that FSDP2 puts in the place of its parts while a module runs, by ``id``."""
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
    many = getattr(state, "_fsdp_param_groups", None)
    one = getattr(state, "_fsdp_param_group", None) if not many else None
    return list(many) if many else [one] if one is not None else []


def _name(path: str, model: nn.Module, info: Any) -> str:
    """The module that holds the parameter is the one that FSDP was applied to, or lies in it."""
    around = model.get_submodule(path)
    inside = next((name for name, module in around.named_modules() if module is info.module), "")
    return ".".join(part for part in (path, inside, info.param_name) if part)


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that train together.

    Attributes:
        rank, world: this one's number, and how many there are.
        averaged: whether gradients are averaged over them, so that each one's loss is a part of the whole's.
    """

    rank: int = 0
    world: int = 1
    averaged: bool = False

    @classmethod
    def of(cls, model: nn.Module) -> "Ranks":
        """Ask torch; no other process is asked."""
        distributed = torch.distributed
        if not distributed.is_available() or not distributed.is_initialized():
            return cls()
        replicated = any(type(module).__name__ == "DistributedDataParallel" for module in model.modules())
        averaged = replicated or any(is_sharded(p) for p in model.parameters())
        return cls(distributed.get_rank(), distributed.get_world_size(), averaged)

    def partial(self, sharded: bool) -> dict[str, dict[str, str]]:
        """How every rank's numbers become the whole's, for the Run's header."""
        if self.world == 1 or not self.averaged:
            return {}
        told = {
            "scalars": {"nonfinite": "max", "skipped": "max"},
            "parameters": {},
            "sites": dict.fromkeys(("grad_output", "grad_input"), "squares"),
            "edges": {"contribution": "squares"},
        }
        if sharded:
            told["scalars"] |= dict.fromkeys(("grad_norm", "grad_norm_unclipped"), "squares")
            told["parameters"] = dict.fromkeys(("grad_norm", "update_norm", "weight_norm"), "squares")
            told["parameters"] |= {"update_ratio": "ratio", "progress": "share"}
            told["sites"]["weight_grad_norm"] = "squares"
        return told

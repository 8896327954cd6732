"""`Ranks`: the processes that train one model together."""

import gc
from dataclasses import dataclass

import torch
from torch import nn

from undertow.watching.sharding import is_sharded


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
        """Ask torch on this process; no other process is asked."""
        distributed = torch.distributed
        if not distributed.is_available() or not distributed.is_initialized():
            return cls()
        averaged = any(is_sharded(p) for p in model.parameters()) or _is_replicated(model)
        return cls(distributed.get_rank(), distributed.get_world_size(), averaged)

    def partial(self, sharded: bool) -> dict[str, dict[str, str]]:
        """Return how every rank's numbers become the whole's, for the Run's header."""
        if self.world == 1 or not self.averaged:
            return {}
        parts = {
            "scalars": {"nonfinite": "max", "skipped": "max"},
            "parameters": {},
            "sites": dict.fromkeys(("grad_output", "grad_input"), "squares"),
            "edges": {"contribution": "squares"},
        }
        if sharded:
            parts["scalars"] |= dict.fromkeys(("grad_norm", "grad_norm_unclipped"), "squares")
            parts["parameters"] = dict.fromkeys(("grad_norm", "update_norm", "weight_norm"), "squares")
            parts["parameters"] |= {"update_ratio": "ratio", "progress": "share"}
            parts["sites"]["weight_grad_norm"] = "squares"
        return parts


def _is_replicated(model: nn.Module) -> bool:
    """Tell whether a model is, has or is inside a module that averages gradients: trainers hand out the inner one."""
    around = torch.nn.parallel.DistributedDataParallel
    if any(isinstance(module, around) for module in model.modules()):
        return True
    # Nothing in a module leads to what holds it. This is asked once, and only where several processes train.
    wrappers = [each for each in gc.get_objects() if issubclass(type(each), around)]
    return any(part is model for each in wrappers for part in each.modules())

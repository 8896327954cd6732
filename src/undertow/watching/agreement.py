"""`agreed`: one finding to stop for in all processes that train together: who stops alone leaves the others waiting."""

import torch

from undertow.record import Finding


def agreed(finding: Finding | None) -> Finding | None:
    """Return the finding that any process wants to stop for: the same one in all, the lowest rank's.

    This is a collective: every process has to call it, after the same step. It waits for the others and sends one
    number; only at the end it sends the finding.

    Args:
        finding: this process's, None if it wants to go on.

    Example:
        >>> agreed(None) is None  # one process alone
        True
    """
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return finding
    world, device = distributed.get_world_size(), _device()
    first = torch.tensor(world if finding is None else distributed.get_rank(), device=device)
    distributed.all_reduce(first, distributed.ReduceOp.MIN)
    rank = int(first)
    if rank == world:
        return None
    told: list[Finding | None] = [finding]
    distributed.broadcast_object_list(told, src=rank, device=device)
    return told[0]


def _device() -> torch.device:
    """Return a device that the processes' backend can send from: NCCL sends none of the host's memory."""
    if "cpu:" in str(torch.distributed.get_backend_config()):
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())

"""Gradients that are zero because a layer on their way multiplies by nothing but zeros, as many begin on purpose."""

from collections.abc import Mapping

from torch import Tensor

from undertow.record import Run


def zeroed_by_parameters(run: Run, parameters: Mapping[str, Tensor]) -> bool:
    """Tell whether every gradient that is zero was made so by parameters that are zero themselves.

    A residual branch that ends in a normalisation of weight zero is the usual one. An operation that multiplies by
    such a parameter receives a gradient and passes zeros on; nothing else has to be looked for.

    Args:
        run: one pass, with ``zero gradients`` in its header.
        parameters: of the model, by name.

    Example:
        >>> import torch
        >>> import undertow
        >>> from torch import nn
        >>> net, x = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), torch.randn(5, 3)
        >>> _ = nn.init.zeros_(net[1].weight)
        >>> run = undertow.examine(net, lambda: (net(x) - 1).square().mean()).run
        >>> run.header["zero gradients"], zeroed_by_parameters(run, dict(net.named_parameters()))
        (['0.weight', '0.bias'], True)
    """
    received = run.column("grad_output")
    where: dict[str, list[int]] = {name: [] for name in run.header["zero gradients"]}
    for place, site in enumerate(run.sites):
        for name in site.parameters:
            if name in where:
                where[name].append(place)
    # Where a gradient arrives and the parameter's own is zero, the data is.
    if not all(places and not received[places].any() for places in where.values()):
        return False
    sources = {
        run.edges[edge].source for place, edges in enumerate(run.incoming) if not received[place] for edge in edges
    }
    return all(_multiplies_by_zeros(run.sites[at].parameters, parameters) for at in sources if received[at])


def _multiplies_by_zeros(names: tuple[str, ...], parameters: Mapping[str, Tensor]) -> bool:
    factors = [parameters[name] for name in names if name in parameters and not name.endswith("bias")]
    return any(not factor.any() for factor in factors)

"""The equations, before anything is trained. NumPy and SciPy only.

- `chain`: one neuron a layer, the gradient factor by factor (eq. 120-122), with `bounds`, `explosion`, `logproduct`,
  `drawn`.
- `product`: full networks, the gradient as a matrix product (eq. 124), with `singular`.
- `meanfield`: wide random networks: q*, χ_1, phases and depth scales, with `propagation`, `isometry`, `residual`.
- `simulation`: random networks drawn, to hold all this to.
"""

from undertow.theory import (
    bounds,
    chain,
    drawn,
    explosion,
    isometry,
    logproduct,
    meanfield,
    product,
    propagation,
    residual,
    simulation,
    singular,
)

__all__ = [
    "bounds",
    "chain",
    "drawn",
    "explosion",
    "isometry",
    "logproduct",
    "meanfield",
    "product",
    "propagation",
    "residual",
    "simulation",
    "singular",
]

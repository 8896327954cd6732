"""Statistics of each layer and activation that theory needs, read off one recorded step."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.theory_check.activations import SCALE_FREE, known
from undertow.record import Role, Run, Site

FEWEST_USES = 2
"""Uses of the same weights after which the gradient isn't independent of them."""

Array = NDArray[np.float64]

LAYERS = ("addmm", "mm", "convolution")


@dataclass(frozen=True)
class Moments:
    """Moments of an activation's slope, E[φ'²] and E[φ'⁴], over normal pre-activations with variance q."""

    q: float
    slope2: float
    slope4: float


@dataclass(frozen=True)
class Statistics:
    """One recorded step of a run, as theory reads it."""

    run: Run
    step: int = -1

    @cached_property
    def weight_var(self) -> NDArray[np.floating]:
        """n_in Var W of every layer, ||W||_F^2 / n_out, whether its weights are random or not; NaN elsewhere."""
        n_out = np.array([site.n_out or np.nan for site in self.run.sites])
        return self.run.column("weight_norm", self.step) ** 2 / n_out

    @cached_property
    def bias_var(self) -> NDArray[np.floating]:
        """Mean square of the biases, 0 where they aren't known."""
        rms = self.run.column("bias_rms", self.step)
        return np.where(np.isnan(rms), 0.0, rms) ** 2

    @cached_property
    def mean_square(self) -> NDArray[np.floating]:
        """Return the mean square of what comes into every layer and activation."""
        return self.run.column("input_rms", self.step) ** 2

    @cached_property
    def q(self) -> NDArray[np.floating]:
        """The variance that independent weights and biases of these sizes would give every layer's z."""
        return self.weight_var * self.mean_square + self.bias_var

    @cached_property
    def reused(self) -> frozenset[int]:
        """Layers whose weights are used elsewhere, too."""
        layers = [site for site in self.run.sites if site.role is Role.WEIGHT and site.parameters]
        uses = Counter(name for site in layers for name in site.parameters)
        return frozenset(s.index for s in layers if max(uses[name] for name in s.parameters) >= FEWEST_USES)

    @cached_property
    def moments(self) -> dict[int, Moments]:
        """Return the moments of every activation that theory knows, right behind a layer whose z it can size."""
        by_name: dict[str, dict[int, float]] = defaultdict(dict)
        for site in self.run.sites:
            layer = self.layer_below(site)
            if layer is not None and site.activation is not None and known(site.activation) is not None:
                q = float(self.q[layer.index])
                if np.isnan(q) and SCALE_FREE.match(site.activation):
                    q = 1.0
                if 0 <= q < np.inf:
                    by_name[site.activation][site.index] = q
        return {place: found for name, qs in by_name.items() for place, found in _moments(name, qs).items()}

    def layer_below(self, site: Site) -> Site | None:
        """The layer whose z an activation takes, if nothing stands between them."""
        edges = self.run.outgoing[site.index]
        if site.role is not Role.ACTIVATION or len(edges) != 1:
            return None
        below = self.run.sites[self.run.edges[edges[0]].target]
        return below if below.role is Role.WEIGHT and below.op in LAYERS else None


def _moments(name: str, variances: dict[int, float]) -> dict[int, Moments]:
    from undertow.theory.quadrature import expect  # loads scipy's integrators: only where there is something to expect

    phi = known(name)
    assert phi is not None  # noqa: S101  # it was looked up before
    derivative, kinks = phi.derivative, phi.kinks

    def powers(z: Array) -> Array:
        squares = np.square(np.asarray(derivative(z), np.float64))
        return np.stack([squares, np.square(squares)])

    q, place = np.unique(list(variances.values()), return_inverse=True)
    second, fourth = expect(powers, q, kinks)
    table = np.stack([q, second, fourth], axis=1)[place]
    return {site: Moments(*map(float, row)) for site, row in zip(variances, table, strict=True)}

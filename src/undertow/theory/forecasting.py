"""All that mean-field theory says of one kind of network, gathered: where it settles, and what its gradient does."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.theory import meanfield
from undertow.theory.functions import ActivationLike, as_activation
from undertow.theory.propagation import Prediction, predict

NORMAL_95 = 1.959964
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Forecast:
    """A fully-connected network of equal layers, as theory expects it before training.

    Attributes:
        activation: its name.
        weight_var: σ_w² = n_in Var W.
        bias_var: σ_b² = Var b.
        depth: L, layers.
        width: units a layer; inf for the mean-field limit.
        q_star: variance of the pre-activations deep inside; None where it grows without bound.
        chi: χ_1 at q*; where there is none, its limit for large variances.
        phase: "ordered", "critical" or "chaotic"; None where there is no q*.
        xi_q, xi_c, xi_grad: depth scales in layers; None where there is no q*.
        trainable_depth: 6 ξ_c, in layers; None where there is no q*.
        layers: what is expected layer by layer, from the input on.
    """

    activation: str
    weight_var: float
    bias_var: float
    depth: int
    width: float
    q_star: float | None
    chi: float
    phase: meanfield.Phase | None
    xi_q: float | None
    xi_c: float | None
    xi_grad: float | None
    trainable_depth: float | None
    layers: Prediction

    @classmethod
    def of(
        cls,
        activation: ActivationLike,
        weight_var: float,
        bias_var: float = 0.0,
        *,
        depth: int,
        width: float = np.inf,
    ) -> "Forecast":
        """The forecast for inputs of mean square 1.

        Args:
            activation: name, `Activation` or elementwise NumPy function.
            weight_var: σ_w² = n_in Var W.
            bias_var: σ_b² = Var b.
            depth: L, layers.
            width: units a layer.

        Raises:
            ValueError: no such activation, a negative or non-finite variance, no layer, or a signal that overflows
                float32 within the depth.

        Example:
            >>> found = Forecast.of("sigmoid", 1.0, 1.0, depth=5)
            >>> found.phase, round(1 / found.norm_factor, 2)
            ('ordered', 4.88)
            >>> Forecast.of("relu", 3.0, depth=5).q_star is None
            True
        """
        phi = as_activation(activation)
        layers = predict(phi, weight_var, bias_var, depth=depth, width=width)
        settled = _settled(phi, weight_var, bias_var, q0=float(layers.q[0]))
        return cls(phi.name, weight_var, bias_var, depth, width, **settled, layers=layers)

    @property
    def norm_factor(self) -> float:
        """√χ_1: what one layer deep inside multiplies the gradient's norm by on its way back."""
        return float(np.sqrt(self.chi))

    def interval(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Ends of log10(||δ^l|| / ||δ^L||) for 95 % of random networks of this width, each [L].

        Example:
            >>> low, high = Forecast.of("relu", 2.0, depth=50, width=250).interval()
            >>> round(float(low[0]), 2), round(float(high[0]), 2)
            (-0.53, 0.31)
        """
        reach = NORMAL_95 * self.layers.spread
        return self.layers.typical - reach, self.layers.typical + reach


def _settled(phi: ActivationLike, weight_var: float, bias_var: float, q0: float) -> dict[str, Any]:
    """Return what holds at the fixed point; q0 decides which one, where there are several."""
    try:
        at_rest = meanfield.q_star(phi, weight_var, bias_var, q0=q0)
    except meanfield.NoFixedPoint:
        limit = float(meanfield.phase_diagram(phi, weight_var, bias_var, q0=q0).chi)
        nothing = dict.fromkeys(("q_star", "phase", "xi_q", "xi_c", "xi_grad", "trainable_depth"))
        return {**nothing, "chi": limit}
    setting = phi, weight_var, bias_var
    return {
        "q_star": at_rest,
        "chi": meanfield.chi(*setting, q0=q0),
        "phase": meanfield.phase(*setting, q0=q0),
        "xi_q": meanfield.xi_q(*setting, q0=q0),
        "xi_c": meanfield.xi_c(*setting, q0=q0),
        "xi_grad": meanfield.xi_grad(*setting, q0=q0),
        "trainable_depth": meanfield.trainable_depth(*setting, q0=q0),
    }

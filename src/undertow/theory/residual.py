"""Residual networks, as far as closed forms go: a skip connection adds 1 to every block's squared gain.

A branch starts with weights that are independent of what comes in and of mean zero, so the squares add up, for the
signal x as for the gradient:

    p ← p + s²,    E||δ_in||² = (1 + k) E||δ_out||²

with p the mean square of x, s² that of the branch's output and k the branch's own squared gain. What differs between
architectures is how s² and k depend on p.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from undertow.theory.fixedpoint import check_variances, slope_moment, value_moment
from undertow.theory.functions import ActivationLike
from undertow.theory.propagation import OVERFLOW

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Branch:
    """x → V φ(W x + b) + c by its statistics.

    Attributes:
        activation: φ: name, `Activation` or elementwise NumPy function.
        weight_var: n_in Var W.
        bias_var: Var b.
        out_weight_var: n_in Var V, times the square of any fixed scale put on the branch.
        out_bias_var: Var c, likewise.
    """

    activation: ActivationLike
    weight_var: float
    bias_var: float = 0.0
    out_weight_var: float = 1.0
    out_bias_var: float = 0.0

    def __post_init__(self) -> None:
        check_variances(
            weight_var=self.weight_var,
            bias_var=self.bias_var,
            out_weight_var=self.out_weight_var,
            out_bias_var=self.out_bias_var,
        )

    def output(self, p: float) -> float:
        """s²: the mean square of the branch's output for inputs of mean square p.

        Example:
            >>> round(Branch("relu", weight_var=2.0).output(3.0), 9)
            3.0
        """
        q = self.weight_var * p + self.bias_var
        return self.out_weight_var * float(value_moment(self.activation, q)) + self.out_bias_var

    def gain(self, p: float) -> float:
        """k: what the branch alone multiplies the squared gradient by.

        Example:
            >>> round(Branch("relu", weight_var=2.0).gain(3.0), 9)
            1.0
        """
        q = self.weight_var * p + self.bias_var
        return self.out_weight_var * self.weight_var * float(slope_moment(self.activation, q))


@dataclass(frozen=True)
class ResidualPrediction:
    """Signal and gradient at the ends of L residual blocks.

    Attributes:
        p: mean square of x at the input and after every block, [L + 1].
        squared_gains: E||δ^l||² / E||δ^(l+1)||² of every block, [L].
        decades: log10 √(E||δ^l||² / E||δ^(L+1)||²), [L + 1]; 0 at the output.
    """

    p: Array
    squared_gains: Array
    decades: Array


def no_norm(branch: Branch, depth: int, p0: float = 1.0) -> ResidualPrediction:
    """x ← x + branch(x), without normalisation.

    Tanh branches: p grows linearly and the gradient like exp(√L); ReLU branches: both exponentially,
    (1 + σ_v² σ_w² / 2)^L; a branch scaled by 1/√L keeps them bounded.

    Args:
        branch: every block's branch.
        depth: L, blocks.
        p0: mean square of the input.

    Raises:
        ValueError: a negative depth or variance.

    Source:
        Yang & Schoenholz 2017, "Mean field residual networks: on the edge of chaos"; the 1/√L scale: Arpit et al. 2019,
        "How to initialize your network?", Hayou et al. 2021, "Stable ResNet".

    Example:
        >>> found = no_norm(Branch("relu", weight_var=2.0), depth=10)
        >>> round(float(found.p[-1])), round(float(found.decades[0]), 3)
        (1024, 1.505)
        >>> scaled = no_norm(Branch("relu", weight_var=2.0, out_weight_var=1 / 10), depth=10)
        >>> round(float(scaled.p[-1]), 3)  # (1 + 1/L)^L
        2.594
    """
    _check(depth, p0)
    p, gains = [p0], []
    for _ in range(depth):
        gains.append(1 + branch.gain(p[-1]))
        p.append(p[-1] + branch.output(p[-1]))
        if not p[-1] < OVERFLOW:
            raise ValueError(f"the signal explodes: after {len(gains)} blocks its mean square is {p[-1]:.3g}")
    return _prediction(np.array(p), np.array(gains))


def pre_norm(branch: Branch, depth: int, p0: float = 1.0) -> ResidualPrediction:
    """x ← x + branch(x / rms(x)): layer or RMS normalisation inside the branch, the skip connection untouched.

    The branch always sees mean square 1, so p = p_0 + l s² and the normalisation divides the branch's gain by p:
    block l multiplies the squared gradient by 1 + k / p. The product is a ratio of gamma functions (`pre_norm_total`):
    it grows like L^(k/s²), not exponentially. Terms of order 1/width (what normalisation projects out) are left out.

    Args:
        branch: every block's branch, after the normalisation.
        depth: L, blocks.
        p0: mean square of the input.

    Raises:
        ValueError: a negative depth or variance.

    Source:
        De & Smith 2020, "Batch normalization biases residual blocks towards the identity function"; Xiong et al. 2020,
        "On layer normalization in the transformer architecture".

    Example:
        >>> found = pre_norm(Branch("relu", weight_var=2.0), depth=9)
        >>> found.p.round(9).tolist()[-1], round(float(found.decades[0]), 3)  # √10
        (10.0, 0.5)
    """
    _check(depth, p0)
    p = p0 + branch.output(1.0) * np.arange(depth + 1.0)
    return _prediction(p, 1 + branch.gain(1.0) / p[:-1])


def pre_norm_total(branch: Branch, depth: int, p0: float = 1.0) -> float:
    """The product of all blocks' squared gains under `pre_norm`, in closed form.

    Γ(r + κ + L) Γ(r) / (Γ(r + L) Γ(r + κ)) with r = p_0/s², κ = k/s².

    Args and errors: as `pre_norm`.

    Example:
        >>> round(pre_norm_total(Branch("relu", weight_var=2.0), depth=9), 9)
        10.0
    """
    _check(depth, p0)
    s2, k = branch.output(1.0), branch.gain(1.0)
    if s2 == 0:
        return float((1 + k / p0) ** depth)
    start, kappa = p0 / s2, k / s2
    log_total = special.gammaln([start + kappa + depth, start, start + depth, start + kappa]) @ [1, 1, -1, -1]
    return float(np.exp(log_total))


def post_norm(branch: Branch, depth: int) -> ResidualPrediction:
    """x ← y / rms(y), y = x + branch(x): normalisation after the sum.

    Every block sees mean square 1, and the normalisation divides by √(1 + s²): squared gain (1 + k) / (1 + s²), which
    is 1 for ReLU without biases. Terms of order 1/width are left out.

    Args:
        branch: every block's branch.
        depth: L, blocks.

    Raises:
        ValueError: a negative depth.

    Source:
        The set-up of Xiong et al. 2020; the gain follows from the module's formulas.

    Example:
        >>> round(float(post_norm(Branch("relu", weight_var=2.0), depth=20).decades[0]), 9) + 0.0
        0.0
    """
    _check(depth, 1.0)
    gain = (1 + branch.gain(1.0)) / (1 + branch.output(1.0))
    return _prediction(np.ones(depth + 1), np.full(depth, gain))


def _check(depth: int, p0: float) -> None:
    if depth < 0:
        raise ValueError(f"a network can't have {depth} blocks")
    if not (np.isfinite(p0) and p0 > 0):
        raise ValueError(f"p0, the mean square of the input, must be positive and finite, got {p0}")


def _prediction(p: Array, gains: Array) -> ResidualPrediction:
    decades = np.append(np.cumsum(np.log10(gains)[::-1])[::-1] / 2, 0.0)
    return ResidualPrediction(p, gains, decades)

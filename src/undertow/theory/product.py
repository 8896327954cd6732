"""The backward pass of a full network as a product of matrices, and what that product does (the book's eq. 124).

    δ^l = Σ'(z^l) (w^(l+1))^T Σ'(z^(l+1)) (w^(l+2))^T ... Σ'(z^L) ∇_a C

Arrays come from anywhere: ``weights[l-1]`` is w^l [n_l, n_(l-1)] and ``z[l-1]`` is z^l [n_l], of one example. A model
that is only known by its jvp and vjp goes through `linear_operator`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from undertow.activations import Activation
from undertow.renamed import old_names
from undertow.theory.functions import ActivationLike, as_activation
from undertow.theory.singular import (
    ProductSVD,
    Triplets,
    frobenius,
    largest,
    linear_operator,
    product_svd,
    product_svds,
)

__all__ = [
    "Alignment",
    "Gains",
    "MatrixFactor",
    "ProductSVD",
    "Triplets",
    "alignment",
    "conditions",
    "deltas",
    "factor_singular_values",
    "factors",
    "frobenius",
    "gains",
    "jacobian",
    "largest",
    "linear_operator",
    "operator",
    "operator_alignment",
    "operator_gains",
    "product_svd",
    "spectrum",
]

Array = NDArray[np.float64]
Activations = ActivationLike | Sequence[ActivationLike]


@dataclass(frozen=True)
class MatrixFactor:
    """One factor of eq. 124.

    Attributes:
        name: ``"Sigma'(z^1)"`` or ``"(w^2)^T"``.
        value: a diagonal matrix as the vector of its diagonal, [n_l]; a transposed weight matrix, [n_l, n_(l+1)].
    """

    name: str
    value: Array


def factors(
    weights: Sequence[ArrayLike], z: Sequence[ArrayLike], activation: Activations = "sigmoid", layer: int = 1
) -> list[MatrixFactor]:
    """The factors that take ∇_a C back to δ^l, from left to right.

    Args:
        weights: w^1 ... w^L, [n_l, n_(l-1)] each (w^1 ... w^l aren't used, but counted).
        z: z^1 ... z^L, [n_l] each.
        activation: one for all layers, or one a layer.
        layer: l, counted from 1.

    Raises:
        ValueError: numbers of layers or shapes that don't go together, no such layer.

    Source:
        Eq. 124 of the book.

    Example:
        >>> w = [np.ones((2, 3)), np.ones((1, 2))]
        >>> [(each.name, each.value.shape) for each in factors(w, [np.zeros(2), np.zeros(1)])]
        [("Sigma'(z^1)", (2,)), ('(w^2)^T', (2, 1)), ("Sigma'(z^2)", (1,))]
    """
    matrices, inputs, phis = _checked(weights, z, activation, layer)
    found = []
    for k in range(layer - 1, len(inputs)):
        if k >= layer:
            found.append(MatrixFactor(f"(w^{k + 1})^T", matrices[k].T))
        found.append(MatrixFactor(f"Sigma'(z^{k + 1})", np.asarray(phis[k].derivative(inputs[k]), dtype=np.float64)))
    return found


def jacobian(
    weights: Sequence[ArrayLike], z: Sequence[ArrayLike], activation: Activations = "sigmoid", layer: int = 1
) -> Array:
    """The factors multiplied out: the matrix [n_l, n_L] with δ^l = jacobian @ ∇_a C, which is (∂a^L/∂z^l)^T.

    Args and errors: as `factors`.

    Example:
        >>> jacobian([np.ones((2, 3)), np.ones((1, 2))], [np.zeros(2), np.zeros(1)]).tolist()
        [[0.0625], [0.0625]]
    """
    found = [each.value for each in factors(weights, z, activation, layer)]
    return reduce(np.matmul, [np.diag(each) if each.ndim == 1 else each for each in found])


def deltas(
    weights: Sequence[ArrayLike],
    z: Sequence[ArrayLike],
    grad_a: ArrayLike,
    activation: Activations = "sigmoid",
) -> list[Array]:
    """δ^1 ... δ^L, each as eq. 124 has it, multiplied from the right so that no matrix product is formed.

    Args:
        weights: w^1 ... w^L, [n_l, n_(l-1)] each.
        z: z^1 ... z^L, [..., n_l] each: any batch axes first.
        grad_a: ∇_a C, the cost's gradient by the last activations, [..., n_L].
        activation: one for all layers, or one a layer.

    Raises:
        ValueError: numbers of layers or shapes that don't go together.

    Source:
        Eq. 124 of the book; the same numbers as BP1 and BP2.

    Example:
        >>> found = deltas([np.ones((2, 3)), np.ones((1, 2))], [np.zeros(2), np.zeros(1)], grad_a=[1.0])
        >>> [each.tolist() for each in found]
        [[0.0625, 0.0625], [0.25]]
    """
    matrices, inputs, phis = _checked(weights, z, activation, 1)
    found = [_slope(phis[-1], inputs[-1]) * np.asarray(grad_a, dtype=np.float64)]
    for k in range(len(inputs) - 2, -1, -1):
        found.append(_slope(phis[k], inputs[k]) * (found[-1] @ matrices[k + 1]))
    return found[::-1]


def operator(
    weights: Sequence[ArrayLike], z: Sequence[ArrayLike], activation: Activations = "sigmoid", layer: int = 1
) -> LinearOperator:
    """`jacobian` as an operator that is never written out: [n_l, n_L], with products both ways.

    Args and errors: as `factors`.

    Example:
        >>> found = operator([np.ones((2, 3)), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])
        >>> found.shape, found.matvec(np.ones(1)).tolist()
        ((2, 1), [0.0625, 0.0625])
    """
    values = [each.value for each in factors(weights, z, activation, layer)]

    def backward(g: Array) -> Array:
        return reduce(lambda v, f: f * v if f.ndim == 1 else f @ v, reversed(values), g)

    def forward(v: Array) -> Array:
        return reduce(lambda u, f: f * u if f.ndim == 1 else f.T @ u, values, v)

    return linear_operator((len(values[0]), values[-1].shape[-1]), backward, forward)


def factor_singular_values(
    weights: Sequence[ArrayLike], z: Sequence[ArrayLike], activation: Activations = "sigmoid", layer: int = 1
) -> list[MatrixFactor]:
    """The singular values of every factor of eq. 124, falling, under the factor's name.

    Args and errors: as `factors`.

    Example:
        >>> w = [np.ones((2, 3)), np.diag([1.0, 3.0])]
        >>> [each.value.tolist() for each in factor_singular_values(w, [np.zeros(2), np.zeros(2)])]
        [[0.25, 0.25], [3.0, 1.0], [0.25, 0.25]]
    """
    return [MatrixFactor(each.name, _singular_values(each.value)) for each in factors(weights, z, activation, layer)]


def spectrum(
    weights: Sequence[ArrayLike], z: Sequence[ArrayLike], activation: Activations = "sigmoid", layer: int = 1
) -> ProductSVD:
    """The SVD of `jacobian`, every singular value to high relative accuracy, however small.

    Args and errors: as `factors`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> w, z = [rng.standard_normal((5, 5)) for _ in range(60)], [rng.standard_normal(5) for _ in range(60)]
        >>> round(spectrum(w, z).log10_condition)  # the SVD of the product written out stops at 16
        37
    """
    return product_svd([each.value for each in factors(weights, z, activation, layer)])


def conditions(weights: Sequence[ArrayLike], z: Sequence[ArrayLike], activation: Activations = "sigmoid") -> Array:
    """log10 of the condition number of the product from each layer to the last, [L]: how it grows with depth.

    Args and errors: as `factors`.

    Example:
        >>> conditions([np.diag([1.0, 10.0])] * 3, [np.zeros(2)] * 3).round(9).tolist()
        [2.0, 1.0, 0.0]
    """
    values = [each.value for each in factors(weights, z, activation)]
    at_every_sigma = product_svds(values, every=2)
    return np.array([each.log10_condition for each in at_every_sigma])[::-1]


@dataclass(frozen=True)
class Gains:
    """Typical and worst gain of a gradient's length through a product.

    Attributes:
        typical: root mean square over random directions, ||J||_F / √n_L.
        worst: over all directions, the largest singular value.
        error: how far either may be off (0 when exact).
    """

    typical: float
    worst: float
    error: float = 0.0


def gains(found: ProductSVD) -> Gains:
    """Typical and worst-case gain of a product from its SVD.

    Example:
        >>> gains(product_svd([np.diag([3.0, 4.0])]))
        Gains(typical=3.5355339059327378, worst=4.0, error=0.0)
    """
    n = len(found.right)
    if not found.log10.size:
        return Gains(0.0, 0.0)
    top = found.log10[0]
    relative = np.sqrt(np.sum(10.0 ** (2 * (found.log10 - top))) / n)
    return Gains(float(relative * 10.0**top), float(10.0**top))


def operator_gains(a: LinearOperator, samples: int = 30, seed: int = 0) -> Gains:
    """Typical and worst-case gain of an operator known only by its products.

    Args:
        a: [n_l, n_L], acting on ∇_a C.
        samples: random products for the typical gain.
        seed: of the random vectors.

    Returns:
        the gains; ``error`` is the larger of the typical gain's standard error and the worst case's residual bound.

    Example:
        >>> operator_gains(linear_operator((2, 2), lambda g: 2 * g, lambda v: 2 * v))
        Gains(typical=2.0, worst=2.0, error=0.0)
    """
    norm, standard_error = frobenius(a, samples, seed)
    top = largest(a, k=1, seed=seed)
    root = float(np.sqrt(a.shape[1]))
    return Gains(norm / root, float(top.values[0]), max(standard_error / root, float(top.error[0])))


@dataclass(frozen=True)
class Alignment:
    """Say how a real gradient lies to the singular directions of the product that carries it back.

    Attributes:
        shares: of its squared length, in each right singular direction, [r]; they sum to at most 1.
        gain: what the product multiplies its length by: √Σ shares σ².
        typical: what it would be for a random direction.
        worst: what it would be for the first singular direction.
    """

    shares: Array
    gain: float
    typical: float
    worst: float


def alignment(found: ProductSVD, grad_a: ArrayLike) -> Alignment:
    """Place the real ∇_a C between the typical and the worst case.

    Args:
        found: the product's SVD, from `spectrum`.
        grad_a: ∇_a C, [n_L], not zero.

    Raises:
        ValueError: a gradient of another length, or of zeros.

    Example:
        >>> found = alignment(product_svd([np.diag([3.0, 4.0])]), [1.0, 0.0])
        >>> found.shares.round(9).tolist(), round(found.gain, 9)
        ([0.0, 1.0], 3.0)
    """
    g = np.asarray(grad_a, dtype=np.float64)
    size = np.linalg.norm(g)
    if g.shape != (len(found.right),) or not size > 0:
        raise ValueError(f"the gradient must be a non-zero vector of {len(found.right)} numbers, got shape {g.shape}")
    shares = np.square(g @ found.right / size)
    overall = gains(found)
    if not found.log10.size:
        return Alignment(shares, 0.0, 0.0, 0.0)
    gain = np.sqrt(np.sum(shares * 10.0 ** (2 * (found.log10 - found.log10[0])))) * overall.worst
    return Alignment(shares, float(gain), overall.typical, overall.worst)


def operator_alignment(a: LinearOperator, grad: ArrayLike, k: int = 6, samples: int = 30, seed: int = 0) -> Alignment:
    """`alignment` for an operator known only by its products: shares in the k largest singular directions.

    Args:
        a: [n_l, n_L], acting on the gradient.
        grad: the real gradient, [n_L], not zero.
        k: how many singular directions to look at, by Lanczos.
        samples: random products for the typical gain.
        seed: of the random vectors.

    Returns:
        the alignment; its gain is exact (one product), typical and worst are as in `operator_gains`.

    Raises:
        ValueError: a gradient of another length, or of zeros.

    Example:
        >>> a = linear_operator((3, 3), lambda g: [3, 2, 1] * g, lambda v: [3, 2, 1] * v)
        >>> found = operator_alignment(a, [0.0, 1.0, 1.0], k=2)
        >>> found.shares.round(9).tolist(), round(found.gain**2, 9), round(found.worst, 9)
        ([0.0, 0.5], 2.5, 3.0)
    """
    g = np.asarray(grad, dtype=np.float64)
    size = np.linalg.norm(g)
    if g.shape != (a.shape[1],) or not size > 0:
        raise ValueError(f"the gradient must be a non-zero vector of {a.shape[1]} numbers, got shape {g.shape}")
    top = largest(a, k, seed)
    typical = frobenius(a, samples, seed)[0] / float(np.sqrt(a.shape[1]))
    gain = float(np.linalg.norm(a.matvec(g / size)))
    return Alignment(np.square(g @ top.right / size), gain, typical, float(top.values[0]))


def _singular_values(factor: Array) -> Array:
    if factor.ndim == 1:
        return np.sort(np.abs(factor))[::-1]
    return np.asarray(np.linalg.svd(factor, compute_uv=False))


def _slope(phi: Activation, z: Array) -> Array:
    return np.asarray(phi.derivative(z), dtype=np.float64)


def _checked(
    weights: Sequence[ArrayLike], z: Sequence[ArrayLike], activation: Activations, layer: int
) -> tuple[list[Array], list[Array], list[Activation]]:
    matrices = [np.asarray(w, dtype=np.float64) for w in weights]
    inputs = [np.asarray(each, dtype=np.float64) for each in z]
    phis = _per_layer(activation, len(inputs))
    if not inputs or not len(matrices) == len(inputs) == len(phis):
        raise ValueError(
            f"got {len(matrices)} weight matrices, {len(inputs)} layers of z and {len(phis)} activations: "
            "give w^1 ... w^L, z^1 ... z^L and one activation, or one a layer"
        )
    if not 1 <= layer <= len(inputs):
        raise ValueError(f"this network has layers 1 to {len(inputs)}; there is no layer {layer}")
    for k in range(1, len(inputs)):
        expected = (inputs[k].shape[-1], inputs[k - 1].shape[-1])
        if matrices[k].shape != expected:
            raise ValueError(f"w^{k + 1} must be [n_out, n_in] = {list(expected)}, got {list(matrices[k].shape)}")
    return matrices, inputs, phis


def _per_layer(activation: Activations, layers: int) -> list[Activation]:
    if isinstance(activation, Sequence) and not isinstance(activation, str):
        return [as_activation(each) for each in activation]
    return [as_activation(activation)] * layers


__getattr__ = old_names(__name__, {"Factor": "MatrixFactor"})

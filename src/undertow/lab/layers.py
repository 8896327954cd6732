"""One layer of every member, and what one mini-batch leaves there.

All members see the same mini-batch. So the first layer, where nearly all the arithmetic of a network on images is,
needs no batched product: its weights [R, n_out, n_in] are read as one matrix [R * n_out, n_in], and the members'
products with x become one large one. From the second layer on each member has an input of its own.
"""

import torch
from torch import Tensor

from undertow.renamed import old_names


class LayerParameters:
    """Weights [R, n_out, n_in] and biases [R, 1, n_out] of one layer of R members."""

    def __init__(self, w: Tensor, b: Tensor) -> None:
        self.w, self.b = w, b
        self.w_transposed = w.mT
        members, n_out, n_in = w.shape
        self.w_rows = w.view(members * n_out, n_in)
        self.w_rows_transposed = self.w_rows.mT
        self.b_row = b.view(1, members * n_out)

    def zeros(self) -> "LayerParameters":
        """Return a layer of the same shapes, all zero: a velocity, or room for a gradient."""
        return LayerParameters(torch.zeros_like(self.w), torch.zeros_like(self.b))

    def copy(self) -> "LayerParameters":
        """Return a layer with the same numbers in tensors of its own."""
        return LayerParameters(self.w.clone(), self.b.clone())

    def copy_(self, other: "LayerParameters") -> None:
        """Take over the numbers of another layer of the same shapes."""
        self.w.copy_(other.w)
        self.b.copy_(other.b)


class LayerPass:
    """Hold what a mini-batch of m examples leaves at one layer: its input, z, a, g = (w^{l+1})^T δ^{l+1}, and δ.

    z, a, g and δ are [R, m, n_out]; the input is [R, m, n_in]. δ belongs to single examples: averaging over the
    mini-batch happens in BP3 and BP4, `add_gradient_to`.
    """

    input: Tensor
    z: Tensor
    a: Tensor
    g: Tensor
    delta: Tensor

    def __init__(self, layer: LayerParameters, m: int) -> None:
        members, n_out, _ = layer.w.shape
        self.z, self.a, self.delta = (layer.w.new_empty(members, m, n_out) for _ in range(3))
        self.g = self.delta  # BP2 multiplies by φ' in place
        self.m = m
        self.ones = layer.w.new_ones(1, 1, m).expand(members, 1, m)
        self.delta_transposed = self.delta.mT

    def affine(self, layer: LayerParameters, a: Tensor) -> None:
        """z^l = w^l a^{l-1} + b^l."""
        self.input = a
        torch.baddbmm(layer.b, a, layer.w_transposed, out=self.z)

    def add_gradient_to(self, into: LayerParameters, step: float, keep: float = 1.0, keep_b: float = 1.0) -> None:
        """BP3 and BP4: ``into`` = keep * ``into`` + step * (dC/dw, dC/db), averaged over the mini-batch."""
        into.b.baddbmm_(self.ones, self.delta, beta=keep_b, alpha=step / self.m)
        into.w.baddbmm_(self.delta_transposed, self.input, beta=keep, alpha=step / self.m)


class FirstLayerPass(LayerPass):
    """Do the same where every member has the same input x [m, n_in]: the members side by side in one matrix."""

    def __init__(self, layer: LayerParameters, m: int) -> None:
        members, n_out, _ = layer.w.shape
        self.z_rows, self.a_rows, self.delta_rows = (layer.w.new_empty(m, members * n_out) for _ in range(3))
        self.z, self.a, self.delta = (
            rows.view(m, members, n_out).transpose(0, 1) for rows in (self.z_rows, self.a_rows, self.delta_rows)
        )
        one = members == 1
        self.g = self.delta if one else layer.w.new_empty(members, m, n_out)  # a batched product wants it in one piece
        self.m = m
        self.ones = layer.w.new_ones(1, m)
        self.delta_transposed = self.delta_rows.mT

    def affine(self, layer: LayerParameters, a: Tensor) -> None:
        """z^1 = w^1 x + b^1."""
        self.input = a
        torch.addmm(layer.b_row, a, layer.w_rows_transposed, out=self.z_rows)

    def add_gradient_to(self, into: LayerParameters, step: float, keep: float = 1.0, keep_b: float = 1.0) -> None:
        """BP3 and BP4, for all members in one product."""
        into.b_row.addmm_(self.ones, self.delta_rows, beta=keep_b, alpha=step / self.m)
        into.w_rows.addmm_(self.delta_transposed, self.input, beta=keep, alpha=step / self.m)


def passes(layers: list[LayerParameters], m: int) -> list[LayerPass]:
    """Room for one pass of m examples through all layers."""
    return [FirstLayerPass(layers[0], m), *(LayerPass(layer, m) for layer in layers[1:])]


__getattr__ = old_names(__name__, {"Layer": "LayerParameters"})

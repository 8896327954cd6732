"""Many networks of one shape, trained side by side, with backpropagation written out.

The equations are those of chapter 2 of the book, for every member at once. With ⊙ the elementwise product and l = 1..L:

    z^l = w^l a^{l-1} + b^l,  a^l = φ(z^l)                      forward (eq. 25)
    δ^L = ∇_a C ⊙ φ'(z^L)                                       BP1
    δ^l = ((w^{l+1})^T δ^{l+1}) ⊙ φ'(z^l)                       BP2
    dC/db^l = δ^l                                               BP3
    dC/dw^l = δ^l (a^{l-1})^T                                   BP4

The last two are averaged over the mini-batch.
"""

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from undertow.activations import activation as known_activation
from undertow.lab.costs import SOFTMAX, OutputCost, cost
from undertow.lab.initializers import Initializer, initializer
from undertow.lab.kernels import Kernel, kernel
from undertow.lab.layers import LayerParameters, LayerPass, passes

EVALUATED_AT_ONCE = 2_000
"""Examples in one pass of `Ensemble.accuracy`: enough to fill the matrix products, few enough to stay in cache."""


class Networks:
    """The equations of R networks of the same sizes, and what one asks of them; `Ensemble` trains and keeps them."""

    def __init__(
        self,
        sizes: Sequence[int],
        members: int = 1,
        *,
        seed: int = 0,
        activation: str | Sequence[str] = "sigmoid",
        cost: str = "cross-entropy",
        initializer: str | Initializer = "default",
        output: str | None = None,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        first_member: int = 0,
        numbers: Sequence[int] | None = None,
    ) -> None:
        if numbers is not None:
            members, first_member = len(numbers), min(numbers, default=0)
        _check_shape(sizes, members)
        _check_seeds(seed, first_member)
        _check_dtype(dtype)
        self.sizes = [operator.index(n) for n in sizes]
        self.members, self.seed, self.first_member = map(operator.index, (members, seed, first_member))
        self.numbers = None if numbers is None else [operator.index(n) for n in numbers]
        self.dtype, self.device = dtype, torch.device(device)
        self.cost: OutputCost = _cost(cost)
        self.activations = _activations(activation, self.cost, output, depth=len(sizes) - 1)
        self.initializer = _initializer(initializer)
        self.kernels: list[Kernel] = [SOFTMAX if n == "softmax" else kernel(n) for n in self.activations]
        self.epochs_trained = 0
        self.layers = [self._to_layer(w, b) for w, b in self._drawn()]
        self._room: dict[int, list[LayerPass]] = {}

    def __repr__(self) -> str:
        hidden = self.activations[:-1] or self.activations
        activation = hidden[0] if len(set(hidden)) == 1 else hidden
        shown = f"members={self.members}, activation={activation!r}, cost={self.cost.name!r}"
        return f"{type(self).__name__}({self.sizes}, {shown})"

    # --- the equations ---

    def feedforward(self, x: Tensor) -> list[LayerPass]:
        """z^l and a^l of all layers for a mini-batch x [m, n_in], which every member sees.

        The result's tensors are used again by the next pass of as many examples: copy what must last.
        """
        signals, a = self._passes(len(x)), x
        for layer, at, phi in zip(self.layers, signals, self.kernels, strict=True):
            at.affine(layer, a)
            phi.value(at.z, at.a)
            a = at.a
        return signals

    def backpropagate(self, x: Tensor, y: Tensor) -> list[LayerPass]:
        """δ^l of every example at all layers (BP1, BP2), after a forward pass; y [m, n_out] are the targets."""
        signals = self.feedforward(x)
        last = signals[-1]
        self.cost.delta(last.z, last.a, y, self.kernels[-1], last.delta)
        for l in range(len(signals) - 2, -1, -1):
            at, above = signals[l], signals[l + 1]
            torch.bmm(above.delta, self.layers[l + 1].w, out=at.g)
            self.kernels[l].chain(at.g, at.z, at.a, at.delta)
        return signals

    # --- what one asks of it ---

    def learning_speed(self, x: ArrayLike | Tensor, y: ArrayLike | Tensor) -> Tensor:
        """||dC/db^l||, C averaged over the examples given: the book's measure of how fast a layer learns.

        Args:
            x: inputs [m, n_in].
            y: class labels [m], or targets [m, n_out].

        Returns:
            [members, layers]; the last column is the output layer, which the book's figures leave out.

        Example:
            >>> nets = Networks([2, 2, 1], members=1, initializer="constant")
            >>> [round(v, 4) for v in nets.learning_speed([[0.0, 0.0]], [[0.0]])[0].tolist()]
            [0.2585, 0.7311]
        """
        signals = self.backpropagate(*self.examples(x, y))
        return torch.stack([at.delta.mean(1).double().norm(dim=-1).to(self.dtype) for at in signals], -1)

    def accuracy(self, x: ArrayLike | Tensor, y: ArrayLike | Tensor) -> Tensor:
        """Return the share of examples whose largest output is the right class, [members]; y are class labels [m].

        Outputs that are not finite are never right.

        Example:
            >>> Networks([2, 3, 2], members=4).accuracy(torch.zeros(6, 2), [0, 0, 0, 1, 1, 1]).tolist()
            [0.5, 0.5, 0.5, 0.5]
        """
        x, y = self.labelled(x, y)
        right = torch.zeros(self.members, dtype=torch.int64, device=self.device)
        for examples, labels in zip(x.split(EVALUATED_AT_ONCE), y.split(EVALUATED_AT_ONCE), strict=True):
            outputs = self.feedforward(examples)[-1].a
            right += ((outputs.argmax(-1) == labels) & outputs.isfinite().all(-1)).sum(-1)
        return right.double() / len(y)

    def loss(self, x: ArrayLike | Tensor, y: ArrayLike | Tensor) -> Tensor:
        """C averaged over the examples given, [members], without the L2 term.

        Example:
            >>> nets = Networks([2, 1], initializer="constant", cost="quadratic")
            >>> round(nets.loss([[0.0, 0.0]], [[1.0]]).item(), 4)    # (1/2 - 1)^2 / 2
            0.125
        """
        inputs, targets = self.examples(x, y)
        last = self.feedforward(inputs)[-1]
        return self.cost.value(last.z, last.a, targets).mean(-1)

    # --- in ---

    def inputs(self, x: ArrayLike | Tensor) -> Tensor:
        """Inputs as a tensor [m, n_in] of this ensemble's dtype, on its device."""
        x = _as_tensor(x, self.device, self.dtype)
        if x.ndim != 2 or x.shape[1] != self.sizes[0] or not len(x):
            raise ValueError(
                f"inputs of shape {list(x.shape)}: this network takes [examples, {self.sizes[0]}], at least one example"
            )
        return x

    def targets(self, y: ArrayLike | Tensor) -> Tensor:
        """Targets [m, n_out]: class labels [m] become one-hot rows, targets stay as they are."""
        y, n_out = _as_tensor(y, self.device), self.sizes[-1]
        if y.ndim == 2 and y.shape[1] == n_out:
            return y.to(self.dtype)
        return torch.nn.functional.one_hot(self.labels(y), n_out).to(self.dtype)

    def labels(self, y: ArrayLike | Tensor) -> Tensor:
        """Class labels as a tensor [m] of int64, each the number of an output."""
        y, n_out = _as_tensor(y, self.device), self.sizes[-1]
        if y.ndim != 1 or y.is_floating_point():
            raise ValueError(
                f"targets of shape {list(y.shape)}, {y.dtype}: give class labels [examples] as integers, "
                f"or targets [examples, {n_out}]"
            )
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < n_out:
            raise ValueError(
                f"class labels {int(y.min())} to {int(y.max())}: the network has {n_out} outputs, 0 to {n_out - 1}"
            )
        return y.long()

    def examples(self, x: ArrayLike | Tensor, y: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
        """`inputs` and `targets`, one of each for every example."""
        inputs, targets = self.inputs(x), self.targets(y)
        _check_pairs(inputs, targets)
        return inputs, targets

    def labelled(self, x: ArrayLike | Tensor, y: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
        """`inputs` and `labels`, one of each for every example."""
        inputs, labels = self.inputs(x), self.labels(y)
        _check_pairs(inputs, labels)
        return inputs, labels

    def _passes(self, m: int) -> list[LayerPass]:
        if m not in self._room:
            self._room = dict(list(self._room.items())[-3:])  # a few sizes recur; to keep them all would be a leak
            with torch.inference_mode(False):  # whoever asks first, later passes write here with or without it
                self._room[m] = passes(self.layers, m)
        return self._room[m]

    def _drawn(self) -> list[tuple[Any, Any]]:
        """w [R, n_out, n_in] and b [R, n_out] of every layer, each member from its own generator, layer by layer."""
        numbers, places = np.unique(self._numbers(), return_inverse=True)
        generators = [np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(int(i),))) for i in numbers]
        drawn = []
        for n_in, n_out in pairwise(self.sizes):
            ws, bs = zip(*(self.initializer.draw(g, n_out, n_in) for g in generators), strict=True)
            drawn.append((np.stack([ws[i] for i in places]), np.stack([bs[i] for i in places])))
        return drawn

    def _numbers(self) -> Sequence[int]:
        return range(self.first_member, self.first_member + self.members) if self.numbers is None else self.numbers

    def _to_layer(self, w: Any, b: Any) -> LayerParameters:
        return LayerParameters(
            torch.as_tensor(w).to(self.device, self.dtype).contiguous(),
            torch.as_tensor(b).to(self.device, self.dtype).unsqueeze(1).contiguous(),
        )


_cost, _initializer = cost, initializer  # inside the class these names are its arguments


def _as_tensor(values: ArrayLike | Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()  # a tensor over memory that must not be written to is one that torch warns of
    return torch.as_tensor(values, dtype=dtype, device=device).detach()


def _check_shape(sizes: Sequence[int], members: int) -> None:
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(
            f"sizes {list(sizes)}: give the inputs, any hidden layers, and the outputs, like [784, 30, 10]"
        )
    if members < 1:
        raise ValueError(f"members = {members}: an ensemble has at least one")


def _check_seeds(seed: int, first_member: int) -> None:
    if seed < 0 or first_member < 0:
        raise ValueError(f"seed = {seed}, first_member = {first_member}: both count from 0")


def _check_dtype(dtype: torch.dtype) -> None:
    if not dtype.is_floating_point:
        raise ValueError(f"dtype = {dtype}: weights are real numbers, give torch.float32 or torch.float64")


def _check_pairs(inputs: Tensor, targets: Tensor) -> None:
    if len(inputs) != len(targets):
        raise ValueError(f"{len(inputs)} inputs but {len(targets)} targets: every example needs one of each")


def _activations(hidden: str | Sequence[str], cost: OutputCost, output: str | None, depth: int) -> list[str]:
    names = [hidden] * (depth - 1) if isinstance(hidden, str) else list(hidden)
    if len(names) != depth - 1:
        raise ValueError(f"{len(names)} activations for {depth - 1} hidden layers: give one name, or one for each")
    if cost.output and output not in (None, cost.output):
        raise ValueError(f"{cost.name} cost is made for {cost.output} outputs, not {output}: leave output= away")
    if "softmax" in names or (output == "softmax" and not cost.output):
        raise ValueError('softmax is only for the output of cost="log-likelihood": its neurons depend on one another')
    for name in [hidden] if isinstance(hidden, str) else names:
        known_activation(name)
    return [*names, cost.output or output or "sigmoid"]

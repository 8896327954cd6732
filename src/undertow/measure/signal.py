"""Hold the live tensors at one Site while the gradient passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(slots=True)
class Slopes:
    """Give phi'(z) of an activation's input.

    Attributes:
        kept: what autograd kept: z, or the activation's result.
        formula: from (rows of) ``kept`` to phi', in a new tensor.
        elementwise: whether each number follows from its own place in ``kept`` alone, so that parts do, too.
        costly: whether the formula takes long, as GELU's does.
        switch: whether it is 1 where ``kept`` is positive and 0 elsewhere, as ReLU's is: then it need not be computed.
    """

    kept: Tensor
    formula: Callable[[Tensor], Tensor]
    elementwise: bool = True
    costly: bool = True
    switch: bool = False


@dataclass(slots=True)
class Convolution:
    """The settings of a convolution, as torch's backward pass takes them."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int


@dataclass(slots=True)
class Signal:
    """The live tensors at one Site while the gradient passes. Lives as long as the hook that made it.

    Attributes:
        site: its place among the run's Sites.
        received: the gradient of each of its outputs.
        arrivals: where several gradients are summed: edge, what came along it, and the sum it became part of.
        features: which dimension of ``received[0]`` counts units; the others count rows.
        learns: whether a learning speed is asked for.
        summed: the gradient received, summed over rows, where autograd has done it for a bias.
        slopes: phi'(z), if it is an activation whose z could be read.
        onward: whether what is passed on arrives at another Site, and is measured there.
        peak: the largest |phi'| that activation has anywhere.
        bounded: whether it saturates on both sides (and can't be dead).
        rising: whether phi' is nowhere negative.
        weight: [n_out, n_in], or a convolution's as torch keeps it.
        weight_id: the parameter's ``id`` if ``weight`` is a parameter and not computed from some.
        passed: the gradient passed on to the data that was multiplied by ``weight``, or that the activation takes.
        convolution: its settings, if it is one.
        inflow: a part of what was multiplied by ``weight``, or of what an activation takes, [examples, features].
    """

    site: int
    received: list[Tensor]
    arrivals: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    features: int = -1
    learns: bool = False
    summed: Tensor | None = None
    slopes: Slopes | None = None
    onward: bool = False
    peak: float = 1.0
    bounded: bool = False
    rising: bool = False
    weight: Tensor | None = None
    weight_id: int | None = None
    passed: Tensor | None = None
    convolution: Convolution | None = None
    inflow: Tensor | None = None

    @property
    def derivative(self) -> Tensor | None:
        """Return phi'(z), computed anew."""
        return None if self.slopes is None else self.slopes.formula(self.slopes.kept)

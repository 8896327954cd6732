"""The graph behind a loss: discovered, and recognised by its signature."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from undertow.tape.ops import RESHAPES, op_name

Node = Any  # torch.autograd.graph.Node has no public attributes for what is needed here


@dataclass(slots=True, eq=False)
class Vertex:
    """A Node, and where it stands.

    Attributes:
        node: the Node; let go of as soon as it is not needed, or an abandoned graph would never be freed.
        op: torch's name for the operation.
        number: autograd's sequence number.
        leaf: the tensor, if this accumulates a gradient.
        place: among all vertices, the loss's side first.
        inputs: for every input of the forward operation, the Vertex it came from (None: takes no gradient) and which
            of that one's outputs it was.
        arrivals: for every gradient that comes in: which Vertex it comes from, from which of its inputs, and to which
            output of this one.
        data_slots: which of its inputs depend on data and take gradient.
        weight_slots: which of its inputs are parameters, or made of nothing else.
        on_weights: whether nothing but parameters lies behind it.
        doubtful: whether that is a guess, from shapes: a parameter and a constant of its shape came together here.
    """

    node: Node
    op: str
    number: int
    leaf: Tensor | None
    place: int = -1
    inputs: list[tuple["Vertex | None", int]] = field(default_factory=list)
    arrivals: list[tuple["Vertex", int, int]] = field(default_factory=list)
    data_slots: list[int] = field(default_factory=list)
    weight_slots: list[int] = field(default_factory=list)
    on_weights: bool = False
    doubtful: bool = False
    known_shape: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of its first output, which is that of the gradient it receives."""
        if self.known_shape is None:
            self.known_shape = self._shape()
        return self.known_shape

    def _shape(self) -> tuple[int, ...]:
        if self.leaf is not None:
            return tuple(self.leaf.shape)
        metadata = getattr(self.node, "_input_metadata", ())
        return tuple(map(int, metadata[0].shape)) if metadata and metadata[0] is not None else ()

    @property
    def folded(self) -> bool:
        """Tell whether it only hands one gradient through, in another shape."""
        if len(self.arrivals) != 1 or len(self.data_slots) != 1:
            return False
        source = self.inputs[self.data_slots[0]][0]
        if self.op in RESHAPES or (self.op == "as_strided" and source is not None and _as_many(self, source)):
            return True
        # A bias, a mask or a position added on; at the input, the position is all there is.
        if self.op not in ("add", "sub") or source is None or self.shape != source.shape:
            return False
        return not self.weight_slots or self._stands_behind_an_operation()

    def _stands_behind_an_operation(self) -> bool:
        """Tell whether what it hands through comes from an operation, to which its parameters count, or from a leaf."""
        vertex, first = self, True
        while first or vertex.folded:
            source = vertex.inputs[vertex.data_slots[0]][0]
            if source is None or source.leaf is not None:
                return False
            vertex, first = source, False
        return True

    def leaves(self, slot: int) -> list[Tensor]:
        """Return every parameter behind an input on the weights' side."""
        source = self.inputs[slot][0]
        while source is not None and source.leaf is None and len(source.inputs) == 1:  # transposed or cast, as a rule
            source = source.inputs[0][0]
        if source is None:
            return []
        if source.leaf is not None:
            return [source.leaf]
        found: dict[int, Tensor] = {}
        stack: list[Vertex | None] = [source]
        seen: set[int] = set()
        while stack:
            source = stack.pop()
            if source is None or id(source) in seen:
                continue
            seen.add(id(source))
            if source.leaf is not None:
                found[id(source.leaf)] = source.leaf
            stack.extend(each for each, _ in source.inputs)
        return list(found.values())

    def own_parameters(self) -> list[Tensor]:
        """Return the parameters that go into this operation, however they were reshaped or combined before."""
        return [leaf for slot in self.weight_slots for leaf in self.leaves(slot)]

    def parameters(self) -> list[Tensor]:
        """Return its own, and those of the additions folded into it: the bias of a linear layer on 3-d input is one."""
        found, stack = self.own_parameters(), [self]
        while stack:
            for giver, _, _ in stack.pop().arrivals:
                if giver.folded:
                    found += giver.own_parameters()
                    stack.append(giver)
        return found


def _as_many(one: Vertex, other: Vertex) -> bool:
    return math.prod(one.shape) == math.prod(other.shape)


def discover(root: Node) -> list[Vertex]:
    """Every Node that gradient reaches from ``root``, each after all those that it receives from.

    Depth first without recursion (graphs are deep): what is finished last comes first.
    """
    known = {root: _vertex(root)}
    finished: list[Vertex] = []
    stack = [(known[root], iter(root.next_functions))]
    while stack:
        vertex, rest = stack[-1]
        for node, output in rest:
            if node is None:
                vertex.inputs.append((None, 0))
                continue
            source = known.get(node)
            if source is not None:
                vertex.inputs.append((source, output))
                continue
            known[node] = source = _vertex(node)
            vertex.inputs.append((source, output))
            if source.leaf is None:
                stack.append((source, iter(node.next_functions)))
                break
            finished.append(source)
        else:
            finished.append(vertex)
            stack.pop()
    finished.reverse()
    for place, vertex in enumerate(finished):
        vertex.place = place
    return finished


def reached(start: Node | None, beyond: Callable[[Node], bool] = lambda _: True) -> Iterator[Node]:
    """Yield every Node that gradient reaches from one, that one first, each once.

    Args:
        start: the Node; nothing is reached from None.
        beyond: tells of a Node whether to go on behind it; behind every one unless given.

    Example:
        >>> import torch
        >>> w = torch.ones(2, requires_grad=True)
        >>> [op_name(node.name()) for node in reached((2 * w).sum().grad_fn)]
        ['sum', 'mul', 'accumulate_grad']
    """
    seen: set[Node] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            if beyond(node):
                waiting += [source for source, _ in node.next_functions]


def passed_over(node: Node | None, ops: Container[str]) -> Node | None:
    """Return the first Node of another operation than some, from one backwards; None if there is none."""
    while node is not None and op_name(node.name()) in ops:
        node = next((source for source, _ in node.next_functions if source is not None), None)
    return node


def _vertex(node: Node) -> Vertex:
    name = node.name()
    leaf = getattr(node, "variable", None) if name.endswith("AccumulateGrad") else None
    return Vertex(node, op_name(name), node._sequence_nr(), leaf)


def signature(vertices: Sequence[Vertex], parameters: Mapping[int, str]) -> tuple[object, ...]:
    """Return what is equal for two passes through the same operations and parameters, whatever the batch size."""
    key: list[object] = []
    for vertex in vertices:
        leaf = vertex.leaf
        key.append(vertex.op if leaf is None else id(leaf) if id(leaf) in parameters else 0)
        for source, output in vertex.inputs:
            key.append(-1 if source is None else source.place)
            if output:
                key.append((output,))
    return tuple(key)


def cut(vertices: Sequence[Vertex]) -> None:
    """Cut the rings of a classified graph: to leave them to the garbage collector costs more than a pass."""
    for vertex in vertices:
        vertex.arrivals.clear()

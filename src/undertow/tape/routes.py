"""A graph that was seen before, recognised on the way: by kinds of Nodes, who leads where, and the parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from undertow.tape.graph import Node, Vertex


@dataclass(frozen=True, slots=True)
class Stop:
    """A Node of a graph that is expected again.

    Attributes:
        kind: its class, which is one of its own for every operation of torch's, or its name.
        ways: for every input the place of the Node that it came from (-1: takes no gradient), and which output.
        leaf: the ``id`` of the parameter whose gradient it accumulates, 0 of another tensor; None elsewhere.
    """

    kind: type | str
    ways: tuple[tuple[int, int], ...]
    leaf: int | None


class Route:
    """The way through a graph, from the loss backwards.

    Args:
        vertices: as `discover` found them.
        parameters: names of the parameters by the ``id`` of the tensor.

    Example:
        >>> import torch
        >>> from undertow.tape.graph import discover
        >>> w = torch.ones(2, requires_grad=True)
        >>> route = Route(discover(w.sigmoid().sum().grad_fn), {id(w): "w"})
        >>> [node.name() for node in route.follow(w.sigmoid().sum().grad_fn)]
        ['SumBackward0', 'SigmoidBackward0', 'torch::autograd::AccumulateGrad']
        >>> route.follow(w.tanh().sum().grad_fn) is None
        True
    """

    def __init__(self, vertices: Sequence[Vertex], parameters: Mapping[int, str]) -> None:
        order = _first_come(vertices)
        places = {vertex.place: number for number, vertex in enumerate(order)}
        self.places = tuple(places[vertex.place] for vertex in vertices)
        self.stops = tuple(_stop(vertex, places, parameters) for vertex in order)
        self._foreign = [place for place, stop in enumerate(self.stops) if stop.leaf == 0]

    def follow(self, root: Node) -> list[Node] | None:
        """The Nodes, each at its place; None if the graph is another one.

        Where a tensor was that is no parameter there may be any tensor: see `foreign`.
        """
        nodes: list[Node] = [root]
        known = 1
        for place, stop in enumerate(self.stops):
            node, kind = nodes[place], cast("object", type(nodes[place]))
            if stop.leaf is not None:
                if kind is not stop.kind or (stop.leaf and id(node.variable) != stop.leaf):
                    return None
                continue
            ways, expected = node.next_functions, stop.ways
            if len(ways) != len(expected) or (node.name() if isinstance(stop.kind, str) else kind) != stop.kind:
                return None
            for (source, output), (to, output_expected) in zip(ways, expected, strict=True):
                if to == known and source is not None:
                    nodes.append(source)
                    known += 1
                elif to == known or source is not (nodes[to] if to >= 0 else None):
                    return None
                if output != output_expected:
                    return None
        return nodes if len(set(map(id, nodes))) == known else None

    def foreign(self, nodes: Sequence[Node]) -> list[Tensor]:
        """Tensors that take gradient and were no parameters, of the Nodes that were found."""
        return [nodes[place].variable for place in self._foreign]


def foreign(vertices: Sequence[Vertex], parameters: Mapping[int, str]) -> list[Tensor]:
    """Tensors that take gradient and are no parameters, in the order of `Route.foreign`.

    Args:
        vertices: as `discover` found them.
        parameters: names of the parameters by the ``id`` of the tensor.
    """
    if all(vertex.leaf is None or id(vertex.leaf) in parameters for vertex in vertices):
        return []
    leaves = (vertex.leaf for vertex in _first_come(vertices))
    return [leaf for leaf in leaves if leaf is not None and id(leaf) not in parameters]


def _first_come(vertices: Sequence[Vertex]) -> list[Vertex]:
    """Order Vertices as `Route.follow` meets their Nodes: the loss's side still comes before."""
    order, met = [vertices[0]], {vertices[0].place}
    for vertex in order:
        for source, _ in vertex.inputs:
            if source is not None and source.place not in met:
                met.add(source.place)
                order.append(source)
    return order


def _stop(vertex: Vertex, places: Mapping[int, int], parameters: Mapping[int, str]) -> Stop:
    node = vertex.node
    leaf = None if vertex.leaf is None else id(vertex.leaf) if id(vertex.leaf) in parameters else 0
    kind = type(node) if type(node).__name__ == node.name() or leaf is not None else node.name()
    ways = ((-1 if source is None else places[source.place], output) for source, output in vertex.inputs)
    return Stop(kind, tuple(ways), leaf)

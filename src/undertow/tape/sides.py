"""The data's side of a graph and the parameters': which operations work on data, and which only make weights."""

import math
from collections.abc import Callable, Mapping, Sequence, Set

from undertow.tape.graph import Vertex
from undertow.tape.ops import EMBEDDINGS, FACTORS, LOSSES, NORMS, PRODUCTS, RECURRENT


def classify(
    vertices: Sequence[Vertex], parameters: Mapping[int, str], makes_weights: Callable[[int], bool] = lambda _: False
) -> None:
    """Tell the data's side from the parameters', and note for every Vertex where its gradient comes from.

    Args:
        vertices: as `discover` found them.
        parameters: names of the parameters by the ``id`` of the tensor.
        makes_weights: tells by a Node's number whether it ran in a parametrization, which no data goes through.
    """
    data: set[int] = set()
    made = {vertex.place for vertex in vertices if vertex.leaf is None and makes_weights(vertex.number)}
    _take_sides(vertices, parameters, data, made)
    while sizes := _sizes_of_weights(vertices) - made:
        made |= sizes
        _take_sides(vertices, parameters, data, made)
    if vertices[0].on_weights:  # rows of a table that somebody looks up by hand are the only data there is
        data |= {vertex.place for vertex in vertices if vertex.op in _LOOKUPS}
        _take_sides(vertices, parameters, data, made)
    while more := _used_as_data(vertices):
        data |= more
        _take_sides(vertices, parameters, data, made)
    for vertex in vertices:
        for slot, (source, output) in enumerate(vertex.inputs):
            if source is not None:
                source.arrivals.append((vertex, slot, output))


def _take_sides(
    vertices: Sequence[Vertex], parameters: Mapping[int, str], data: set[int], made: Set[int] = frozenset()
) -> None:
    """Sort every Vertex's inputs; ``data``: places of those that are data, whatever their shapes say.

    Places in ``made`` are on the parameters' side where no data comes in.
    """
    for vertex in reversed(vertices):
        vertex.data_slots, vertex.weight_slots, vertex.doubtful = [], [], False
        for slot, (source, _) in enumerate(vertex.inputs):
            if source is not None:
                (vertex.weight_slots if source.on_weights else vertex.data_slots).append(slot)
        alone = vertex.place in made and bool(vertex.weight_slots) and not vertex.data_slots
        vertex.on_weights = vertex.place not in data and (alone or _is_on_weights(vertex, parameters))


def _sizes_of_weights(vertices: Sequence[Vertex]) -> set[int]:
    """Places of what a matrix is divided by and is made of that matrix alone, as its spectral norm is (u^T W v)."""
    found: set[int] = set()
    for vertex in vertices:
        if vertex.op in ("div", "mul") and len(vertex.data_slots) == len(vertex.weight_slots) == 1:
            size = vertex.inputs[vertex.data_slots[0]][0]
            if size is not None and math.prod(size.shape) == 1 < math.prod(vertex.shape):
                found |= _made_of({id(leaf) for leaf in vertex.own_parameters()}, size, vertex.place)
    return found


def _made_of(matrix: Set[int], size: Vertex, divided: int) -> set[int]:
    """Return the places of a number and of what is behind it; none where other tensors go into it than a matrix."""
    behind, waiting = set[int](), [size]
    while waiting:
        vertex = waiting.pop()
        if vertex.leaf is not None:
            if id(vertex.leaf) not in matrix:
                return set()
        elif vertex.place not in behind:
            behind.add(vertex.place)
            waiting += [source for source, _ in vertex.inputs if source is not None]
    return behind | {divided}


_LOOKUPS = frozenset({"index", "index_select", "gather"})

_TAKES_DATA = PRODUCTS | NORMS
"""With an input that takes no gradient these work on data (the first layer's is the batch), not on parameters."""


def _is_on_weights(vertex: Vertex, parameters: Mapping[int, str]) -> bool:
    if vertex.leaf is not None:
        return id(vertex.leaf) in parameters
    if vertex.op in EMBEDDINGS or vertex.op in RECURRENT or vertex.data_slots or not vertex.weight_slots:
        return False
    if all(source is not None for source, _ in vertex.inputs):
        return True
    if vertex.op in _TAKES_DATA:
        return False
    # A parameter times a constant is as good as a parameter; a batch times a parameter has the batch's shape.
    vertex.doubtful = any(source is not None and source.shape == vertex.shape for source, _ in vertex.inputs)
    return vertex.doubtful


_TAKES_DATA_FIRST = RECURRENT | LOSSES | (NORMS - {"linalg_vector_norm"})


def _used_as_data(vertices: Sequence[Vertex]) -> set[int]:
    """Places where shapes misled: a batch of one has a position's shape, and one example a scale's.

    What became of the sum tells: a layer multiplies it, a normalisation takes it, or it arrives at the loss. What
    weights are made of does none of that.
    """
    if not any(vertex.doubtful for vertex in vertices):
        return set()
    guessed: set[int] = set()
    found: set[int] = set()
    weights = _multiplied_with(vertices)
    for vertex in reversed(vertices):
        behind = any(source is not None and source.place in guessed for source, _ in vertex.inputs)
        if vertex.doubtful or (behind and vertex.on_weights):
            guessed.add(vertex.place)
        if behind and vertex.place not in weights:
            for slot in _data_positions(vertex):
                found |= _guesses_behind(vertex.inputs[slot][0], guessed)
    return found | (_guesses_behind(vertices[0], guessed) if vertices[0].place in guessed else set())


def _multiplied_with(vertices: Sequence[Vertex]) -> set[int]:
    """Places of what ends in weights alone, as a product of two low-rank factors does."""
    elsewhere = {vertices[0].place}
    for vertex in vertices:
        for slot, (source, _) in enumerate(vertex.inputs):
            ends = vertex.place in elsewhere if vertex.on_weights else slot != _factors(vertex)[1]
            if source is not None and source.on_weights and ends:
                elsewhere.add(source.place)
    return {vertex.place for vertex in vertices if vertex.on_weights and vertex.place not in elsewhere}


def _factors(vertex: Vertex) -> tuple[int, int]:
    """Return where data stands and where weights stand among a product's inputs; -1 where it is none."""
    left, right = FACTORS.get(vertex.op, (-1, -1))
    return left, right


def _data_positions(vertex: Vertex) -> Sequence[int]:
    """Inputs that none but data goes into."""
    if vertex.op in _TAKES_DATA_FIRST:
        return (0,)
    if vertex.op.startswith("scaled_dot_product"):
        return range(len(vertex.inputs))
    left, right = _factors(vertex)
    weights = vertex.inputs[right][0] if 0 <= right < len(vertex.inputs) else None
    return (left,) if weights is not None and weights.on_weights else ()


def _guesses_behind(start: Vertex | None, guessed: set[int]) -> set[int]:
    """Those that data came through; not those that its layers' weights are made of."""
    found, seen, stack = set(), set(), [start]
    while stack:
        vertex = stack.pop()
        if vertex is None or vertex.place not in guessed or vertex.place in seen:
            continue
        seen.add(vertex.place)
        if vertex.doubtful:
            found.add(vertex.place)
        slots = _data_positions(vertex) or range(len(vertex.inputs))
        stack.extend(vertex.inputs[slot][0] for slot in slots)
    return found

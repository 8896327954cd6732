"""From the graph to Sites, edges, and what the hook on each Node has to look at."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from undertow.record import Edge, Role, Site
from undertow.tape import facts
from undertow.tape.graph import Vertex
from undertow.tape.naming import Owners, locate, named_after_owner
from undertow.tape.ops import ADDENDS, IN_PLACE, role_of
from undertow.tape.windows import OUTSIDE, Window, WindowIndex


@dataclass(slots=True, eq=False)
class Tap:
    """Say what to look at when the gradient passes one Node.

    Attributes:
        at: the Node's place among all vertices.
        op: torch's name for it.
        site: its place among the Sites, or -1 for a reshape folded away.
        captures: gradients passed on that others will be added to: from which input, along which edge.
        arrivals: edges whose gradients are summed here, and at which output.
        role: its Site's.
        weight: how to get at its weight, if it multiplies by one.
        passes: which of its inputs gets the gradient that is passed on, if it multiplies by a weight.
        beside: whether what it adds on depends on data, too, and gets a gradient of its own.
        bias: which of its inputs is a bias, whose gradient is that received summed over rows.
        features: which dimension of its output counts units.
        onward: whether it passes gradient on to another Site.
        peak, bounded, rising: of its activation's derivative, as a `Signal` has them.
    """

    at: int
    op: str
    site: int = -1
    captures: list[tuple[int, int]] = field(default_factory=list)
    arrivals: list[tuple[int, int]] = field(default_factory=list)
    role: Role = Role.OTHER
    weight: facts.Weight | None = None
    passes: int | None = None
    beside: bool = False
    bias: int | None = None
    features: int = -1
    onward: bool = False
    peak: float = 1.0
    bounded: bool = False
    rising: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is known before any gradient flows. It holds no Node, and fits every pass of one signature."""

    sites: tuple[Site, ...]
    edges: tuple[Edge, ...]
    taps: tuple[Tap, ...]
    called: frozenset[str]
    """Paths of the modules that were called, from beginning to end."""
    units: Mapping[str, int] = field(default_factory=dict)
    """By a weight's name, which of its dimensions counts the units of the layer."""


LineOf = Callable[[int], str]


def plan(
    vertices: Sequence[Vertex],
    windows: WindowIndex,
    called: frozenset[str],
    names: Mapping[int, str],
    owners: Owners,
    line_of: LineOf | None = None,
) -> Plan:
    """Decide on the Sites of a graph.

    Args:
        vertices: as `graph.discover` found them, classified.
        windows: which module each Node ran in.
        called: paths of the modules that were called, from beginning to end.
        names: of the parameters, by ``id``.
        owners: the modules that hold them.
        line_of: tells the line of source by a Node's number.
    """
    data_side = [vertex for vertex in vertices if not vertex.on_weights and vertex.leaf is None]
    kept = [vertex for vertex in data_side if not vertex.folded]
    places = {id(vertex): place for place, vertex in enumerate(kept)}
    taps = {id(vertex): Tap(vertex.place, vertex.op, places.get(id(vertex), -1)) for vertex in data_side}
    parameters = [tuple(sorted({names[id(leaf)] for leaf in vertex.parameters()})) for vertex in kept]
    found = locate(data_side, windows, owners)
    frozen = owners.multiply_by_frozen(called)
    roles = {id(vertex): _role(vertex, found[id(vertex)], frozen) for vertex in kept}
    _tell_losses(data_side, roles)
    weights = [facts.weight_of(vertex) for vertex in kept]
    lines = line_of if line_of is not None and windows.only_thread() is not None else _no_line
    sites = [
        _site(n, vertex, roles[id(vertex)], found[id(vertex)], parameters[n], weights[n], owners, called, lines)
        for n, vertex in enumerate(kept)
    ]
    edges = _connect(kept, places, taps)
    for site, vertex, weight in zip(sites, kept, weights, strict=True):
        _prepare(taps[id(vertex)], vertex, site, weight)
    for edge in edges:
        taps[id(kept[edge.source])].onward = True
    needed = tuple(tap for tap in taps.values() if tap.site >= 0 or tap.captures)
    return Plan(tuple(sites), tuple(edges), needed, called, _units(kept, weights, names))


def _no_line(number: int) -> str:
    """Return no line: nobody noted any, or threads count their Nodes alike."""
    del number
    return ""


def _units(kept: Sequence[Vertex], weights: Sequence[facts.Weight | None], names: Mapping[int, str]) -> dict[str, int]:
    """By the parameter that is multiplied with, as it is; what a backward pass of its own does with it comes later."""
    found: dict[str, int] = {}
    for vertex, weight in sorted(zip(kept, weights, strict=True), key=lambda each: each[0].number):
        if weight is None or weight.parameter is None or weight.parameter.dim() < 2:
            continue
        transposed = vertex.op == "convolution" and vertex.node._saved_transposed
        found.setdefault(names.get(id(weight.parameter), ""), 1 if transposed else weight.units)
    return found


def _prepare(tap: Tap, vertex: Vertex, site: Site, weight: facts.Weight | None) -> None:
    tap.role = site.role
    if site.role is Role.WEIGHT:
        tap.weight, tap.passes = weight, next(iter(_multiplied(vertex)), None)
        tap.beside = vertex.op in ADDENDS and 0 in vertex.data_slots
        tap.features, tap.bias = feature_dimension(vertex, tap.weight), _bias(vertex, site)
    elif site.role is Role.ACTIVATION:
        tap.features, tap.peak = features_behind(vertex), facts.PEAKS.get(vertex.op, 1.0)
        tap.bounded, tap.rising = facts.bounded(vertex), vertex.op in facts.RISING


def _bias(vertex: Vertex, site: Site) -> int | None:
    """Autograd sums a bias's gradient over rows anyway, if nothing but the bias itself is that input."""
    slot = {"addmm": 0, "convolution": 2}.get(vertex.op)
    if slot is None or slot not in vertex.weight_slots or getattr(vertex.node, "_saved_beta", 1) != 1:
        return None
    return slot if _shape_of(vertex, slot) == (site.n_out,) else None


def _shape_of(vertex: Vertex, slot: int) -> tuple[int, ...]:
    source = vertex.inputs[slot][0]
    return () if source is None else source.shape


def _connect(kept: list[Vertex], places: Mapping[int, int], taps: Mapping[int, Tap]) -> list[Edge]:
    edges: list[Edge] = []
    for vertex in kept:
        for slot in vertex.data_slots:
            last, last_slot, target, output = _follow(vertex, slot, places)
            if target is None:
                continue
            number = len(edges)
            edges.append(Edge(places[id(vertex)], places[id(target)]))
            if len(target.arrivals) > 1:
                taps[id(last)].captures.append((last_slot, number))
                taps[id(target)].arrivals.append((number, output))
    return edges


def _follow(vertex: Vertex, slot: int, places: Mapping[int, int]) -> tuple[Vertex, int, Vertex | None, int]:
    """Through folded Nodes to the next Site: the last Node before it, that one's input, the Site, its output."""
    target, output = vertex.inputs[slot]
    while target is not None and id(target) not in places and target.leaf is None:
        vertex, slot = target, target.data_slots[0]
        target, output = vertex.inputs[slot]
    return vertex, slot, None if target is None or target.leaf is not None else target, output


def _tell_losses(data_side: Sequence[Vertex], roles: dict[int, Role]) -> None:
    """Call a part of the loss what has no role of its own and stands in front of all weights."""
    behind_weights: set[int] = set()
    for vertex in data_side:
        role = roles.get(id(vertex))
        if role is Role.WEIGHT or any(id(source) in behind_weights for source, _, _ in vertex.arrivals):
            behind_weights.add(id(vertex))
            if role is Role.OTHER and facts.clips(vertex):
                roles[id(vertex)] = Role.ACTIVATION
        elif role in (Role.OTHER, Role.ATTENTION, Role.JOIN):
            roles[id(vertex)] = Role.LOSS


def _role(vertex: Vertex, window: Window, frozen: Set[str]) -> Role:
    if _in_place(vertex, window):
        return Role.ACTIVATION
    data, weights = len(_multiplied(vertex)), len(vertex.weight_slots)
    constant = data == 1 and not weights and window.module not in frozen
    return role_of(vertex.op, window.module_type, data, weights, constant)


def _in_place(vertex: Vertex, window: Window) -> str | None:
    """The activation that wrote over a view, of which autograd keeps nothing that tells what it was."""
    return IN_PLACE.get(window.module_type) if vertex.op == "copy_slices" else None


def _multiplied(vertex: Vertex) -> list[int]:
    """Inputs that depend on data, without what a product adds on."""
    return [slot for slot in vertex.data_slots if slot or vertex.op not in ADDENDS]


def _site(
    place: int,
    vertex: Vertex,
    role: Role,
    window: Window,
    parameters: tuple[str, ...],
    weight: facts.Weight | None,
    owners: Owners,
    called: frozenset[str],
    line_of: LineOf,
) -> Site:
    shape, in_place = _weight_shape(vertex, weight) if role is Role.WEIGHT else (), _in_place(vertex, window)
    home = named_after_owner(vertex, window, owners, called) if role is Role.WEIGHT and parameters else window
    return Site(
        place,
        home.module if home is not OUTSIDE else "",
        in_place or ("kl_div" if _is_divergence(vertex) else vertex.op),
        role,
        vertex.shape,
        activation=in_place or (facts.activation_name(vertex) if role is Role.ACTIVATION else None),
        n_out=_n_out(vertex, shape, weight),
        weight_shape=shape,
        parameters=parameters,
        module_type=home.module_type,
        inside=facts.inside(vertex) if vertex.op == "convolution" else 1.0,
        source=line_of(vertex.number),
    )


def _is_divergence(vertex: Vertex) -> bool:
    """Tell whether it is the product in ``(t log t - t x).sum()``: kl_div is that to autograd, or written by hand."""
    if vertex.op != "mul" or len(vertex.arrivals) != 1 or sum(source is not None for source, _ in vertex.inputs) != 1:
        return False
    taken, slot, _ = vertex.arrivals[0]
    constant = taken.op == "sub" and slot == 1 and taken.inputs[0][0] is None and taken.shape == vertex.shape
    return constant and len(vertex.shape) > 1 and all(each.op in ("sum", "mean") for each, _, _ in taken.arrivals)


def _weight_shape(vertex: Vertex, weight: facts.Weight | None) -> tuple[int, ...]:
    """As the parameter has it; of weights made of several parameters, as they are multiplied with."""
    source = None if weight is None or weight.slot not in vertex.weight_slots else vertex.inputs[weight.slot][0]
    while source is not None and source.op in ("t", "to_copy") and source.inputs:
        source = source.inputs[0][0]
    if source is not None:
        return source.shape
    return next((tuple(leaf.shape) for leaf in vertex.own_parameters() if leaf.dim() > 1), ())


def _n_out(vertex: Vertex, weight_shape: tuple[int, ...], weight: facts.Weight | None) -> int:
    """Units that the weights lead to: channels of a convolution, columns (or rows) of a matrix product."""
    shape = vertex.shape
    if not weight_shape or not shape:
        return 0
    return shape[feature_dimension(vertex, weight) % len(shape)]


def feature_dimension(vertex: Vertex, weight: facts.Weight | None) -> int:
    """Return which dimension of its output counts units."""
    if vertex.op == "convolution":
        return 1
    return -1 if weight is None or weight.on_the_right else 0


def features_behind(vertex: Vertex) -> int:
    """Return which dimension of an activation counts units: channels behind a convolution, the last one elsewhere."""
    for _ in range(4):  # norm, bias, dropout: no more stands between weights and their activation
        if vertex.op == "convolution":
            return 1
        if len(vertex.data_slots) != 1:
            return -1
        source = vertex.inputs[vertex.data_slots[0]][0]
        if source is None or source.leaf is not None:
            return -1
        vertex = source
    return -1

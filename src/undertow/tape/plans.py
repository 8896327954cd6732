"""Keep what one pass found out about a model's graph for the passes that follow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from torch import Tensor, nn

from undertow.measure import Meter, Readout
from undertow.tape.choices import ChoiceWatch
from undertow.tape.graph import Node, Vertex, cut, discover, signature
from undertow.tape.lookups import Lookups
from undertow.tape.members import modules_of, names_what_it_holds
from undertow.tape.naming import Owners
from undertow.tape.routes import Route, foreign
from undertow.tape.sides import classify
from undertow.tape.sites import LineOf, Plan, plan
from undertow.tape.windows import Windows

MOST = 16
"""Plans that are kept: a model that takes a new way each time needs none of the old ones."""

PATIENCE = 16
"""Passes in a row that must go known ways before modules are no longer watched: graphs may take turns."""

TRIED = 4
"""Ways that a pass may have gone which are tried before its graph is discovered from scratch."""


@dataclass(slots=True)
class Known:
    """A graph that was met before: its plan; if it was met twice, the way through it and the plan's Nodes on that."""

    plan: Plan
    route: Route | None = None
    at: tuple[int, ...] = ()


@dataclass(slots=True)
class Graph:
    """A graph that is there now.

    Attributes:
        plan: for all like it.
        nodes: one for each of the plan's taps.
        other_leaves: tensors that take gradient but are no parameters of the model.
    """

    plan: Plan
    nodes: list[Node]
    other_leaves: list[Tensor]


class Plans:
    """The plans for a model's graphs, by what the graphs look like.

    As long as a model goes ways that are known, nothing has to be hooked on its modules, whose names are in the plan.

    Args:
        model: its modules and parameters are looked up once, and again when a graph turns up that isn't known.
        unroll: let RNN modules run step by step instead of in one fused kernel, so that each step is a Site.
    """

    def __init__(self, model: nn.Module, unroll: bool = False) -> None:
        self._model = model
        self._more: dict[int, str] = {}
        self._named: dict[int, str] = {}
        self.modules: dict[str, nn.Module] = {}
        self.names: dict[int, str] = {}
        self._look_up()
        self.unroll = unroll
        self.lookups = Lookups()
        self.choices = ChoiceWatch(model, self.names, alone=unroll, modules=lambda: self.modules)
        self._news = PATIENCE
        self._known: dict[tuple[object, ...], Known] = {}
        self._last: list[Known] = []
        self._readouts: dict[int, tuple[Plan, Readout]] = {}

    def windows(self) -> Windows | None:
        """For the pass that comes: None if many in a row went ways that were known, and the model unrolls nothing."""
        unrolls = self.unroll and any(isinstance(module, nn.RNNBase) for module in self.modules.values())
        return Windows(self.modules, self.unroll) if self._news or unrolls else None

    def expect_news(self) -> None:
        """Watch the modules in the passes that come."""
        self._news = PATIENCE

    def of(self, root: Node, windows: Windows | None, line_of: LineOf | None = None) -> Graph | None:
        """The graph behind a loss; None if it is a new one and nobody watched the modules while it was made.

        Args:
            root: the loss's Node.
            windows: what the modules' calls left, if they were watched.
            line_of: tells the line of source by a Node's number.
        """
        for recent in self._last:
            nodes = recent.route.follow(root) if recent.route is not None else None
            if recent.route is not None and nodes is not None:
                others = recent.route.foreign(nodes)
                if not any(id(leaf) in self.names for leaf in others):
                    return self._met(recent, [nodes[place] for place in recent.at], others)
        vertices = discover(root)
        key = signature(vertices, self.names)
        before = self._known.get(key)
        known = before or self._new(vertices, windows, line_of)
        if known is None:
            return None
        others = foreign(vertices, self.names)
        if before is not None:  # a graph that comes again may come often
            known.route = Route(vertices, self.names)
            known.at = tuple(known.route.places[tap.at] for tap in known.plan.taps)
        self._known[key] = known
        return self._met(known, [vertices[tap.at].node for tap in known.plan.taps], others)

    def _new(self, vertices: list[Vertex], windows: Windows | None, line_of: LineOf | None) -> Known | None:
        """Plan for a graph that is met for the first time; None if nobody watched the modules, or they are others."""
        self._news = PATIENCE
        if windows is None or self._look_up():
            return None
        index = windows.index()
        classify(vertices, self.names, index.makes_weights)
        owners = Owners.of(self.modules, self._named | self._more)
        found = plan(vertices, index, windows.called, self.names, owners, line_of)
        cut(vertices)
        if len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        return Known(found)

    def _met(self, known: Known, nodes: list[Node], other_leaves: list[Tensor]) -> Graph:
        self._news = max(self._news - 1, 0)
        if not self._last or self._last[0] is not known:
            self._last = [known, *islice((each for each in self._last if each is not known), TRIED - 1)]
        return Graph(known.plan, nodes, other_leaves)

    def see_tables(self, gradients: Iterable[tuple[int, str, Tensor | None]], meter: Meter) -> None:
        """Measure which rows of the tables that the model chooses from got gradient, in this pass or before.

        Args:
            gradients: of parameters, each with the parameter's place and name.
            meter: where the numbers are collected.
        """
        chosen = self.choices.chosen or {}
        for place, name, gradient in gradients if chosen else ():
            if name in chosen and gradient is not None:
                self.lookups.see_gradient(place, name, gradient, meter)

    def also(self, names: Mapping[int, str]) -> None:
        """More tensors to call parameters, by ``id``: sharded models compute with others than they name."""
        self._more = dict(names)
        self.names = _parameter_names(self.modules) | self._named | self._more

    def _look_up(self) -> bool:
        """Look at the model's modules and parameters; whether they are others than before."""
        before = self.modules, self.names
        self.modules = modules_of(self._model)
        held = _parameter_names(self.modules)
        # A model may name parameters that none of its modules holds: another framework's does (Keras).
        named = () if names_what_it_holds(self._model) else self._model.named_parameters()
        self._named = {id(p): name for name, p in named if id(p) not in held}
        self.names = held | self._named | self._more
        return (self.modules, self.names) != before

    def readout(self, plan: Plan, names: tuple[str, ...]) -> Readout:
        """From what was measured in a pass of this plan to columns."""
        known = self._readouts.get(id(plan))
        if known is None or known[1].names != names:
            if len(self._readouts) >= MOST:
                self._readouts.clear()
            known = self._readouts[id(plan)] = (plan, Readout(plan.sites, plan.edges, names))
        return known[1]


def _parameter_names(modules: Mapping[str, nn.Module]) -> dict[int, str]:
    """By ``id``; of a parameter that is shared, the first one."""
    names: dict[int, str] = {}
    for path, module in modules.items():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                names.setdefault(id(parameter), f"{path}.{name}" if path else name)
    return names

"""Name a Site: the module that computes it, or the part of that module that owns its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from undertow.tape.graph import Vertex
from undertow.tape.ops import FACTORS
from undertow.tape.windows import OUTSIDE, Window, WindowIndex, clean_path, type_name

Home = tuple[str, str]
"""Path and class of a module."""


@dataclass(frozen=True)
class Owners:
    """Know who holds the parameters.

    Attributes:
        homes: by ``id`` of a parameter every module that holds it itself.
        frozen: paths of modules that hold a matrix which takes no gradient.
    """

    homes: Mapping[int, Sequence[Home]]
    frozen: frozenset[str] = frozenset()

    @classmethod
    def of(cls, modules: Mapping[str, nn.Module], more: Mapping[int, str]) -> "Owners":
        """Look the modules of a model up.

        Args:
            modules: by path.
            more: names of tensors that are used instead of parameters, by ``id``.

        Example:
            >>> net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False))
            >>> net[1].weight = net[0].weight
            >>> Owners.of(dict(net.named_modules()), {}).homes[id(net[0].weight)]
            [('0', 'Embedding'), ('1', 'Linear')]
        """
        homes: dict[int, list[Home]] = {}
        frozen: set[str] = set()
        for path, module in modules.items():
            for parameter in module._parameters.values():
                if parameter is None:
                    continue
                homes.setdefault(id(parameter), []).append((clean_path(path), type_name(module)))
                if not parameter.requires_grad and parameter.dim() > 1:
                    frozen.add(clean_path(path))
        for identity, name in more.items():
            path = name.rpartition(".")[0]
            homes.setdefault(identity, [(clean_path(path), type_name(modules.get(path)))])
        return cls(homes, frozenset(frozen))

    def multiply_by_frozen(self, called: frozenset[str]) -> frozenset[str]:
        """Return paths of modules that may multiply by frozen weights, be it those of a part that was never called."""
        return self.frozen | {path.rpartition(".")[0] for path in self.frozen - called}


def named_after_owner(vertex: Vertex, window: Window, owners: Owners, called: frozenset[str]) -> Window:
    """Return the window that a layer is named by: of a part that owns its weights and was never called, that part.

    `nn.MultiheadAttention` multiplies by ``out_proj.weight`` without calling ``out_proj``; Mamba's fused kernels take
    the weights of ``conv1d`` and ``dt_proj``. A head that takes an embedding's weights is named by who computes.
    """
    homes = [home for leaf in weights_of(vertex) for home in owners.homes.get(id(leaf), ())]
    prefix = f"{window.module}." if window.module else ""
    if any(path == window.module for path, _ in homes):
        return window
    for path, kind in homes:
        if path.startswith(prefix) and path not in called and path:
            return Window(path, kind, window.start)
    return window


def weights_of(vertex: Vertex) -> list[object]:
    """Return the parameters that it multiplies by; biases are others' affair."""
    right = FACTORS.get(vertex.op, (0, -1))
    slots = [slot for slot in vertex.weight_slots if slot in right] or vertex.weight_slots
    return [leaf for slot in slots for leaf in vertex.leaves(slot)]


def locate(data_side: Sequence[Vertex], windows: WindowIndex, owners: Owners) -> dict[int, Window]:
    """Return the window of every Node, by the Vertex's ``id``.

    Threads count their Nodes independently, so that a number may lie in windows of several. Then the parameters tell,
    and where there are none, the neighbours: first those that the Node gives its gradient to, then its givers.
    """
    only = windows.only_thread()
    if only is not None:
        return {id(vertex): only.at(vertex.number) for vertex in data_side}
    found: dict[int, Window] = {}
    threads: dict[int, int] = {}
    open_cases: dict[int, dict[int, Window]] = {}
    for vertex in data_side:
        hits = windows.candidates(vertex.number)
        homes = {path for leaf in vertex.own_parameters() for path, _ in owners.homes.get(id(leaf), ())}
        sure = [thread for thread, window in hits.items() if len(hits) == 1 or window.module in homes]
        if len(sure) == 1:
            found[id(vertex)], threads[id(vertex)] = hits[sure[0]], sure[0]
        elif hits:
            open_cases[id(vertex)] = hits
    for vertices, neighbours in ((reversed(data_side), _receivers), (data_side, _givers)):
        for vertex in vertices:
            hits = open_cases.get(id(vertex), {})
            near = [threads[id(each)] for each in neighbours(vertex) if id(each) in threads]
            thread = next((each for each in near if each in hits), None)
            if id(vertex) not in found and thread is not None:
                found[id(vertex)], threads[id(vertex)] = hits[thread], thread
    return {id(vertex): found.get(id(vertex), OUTSIDE) for vertex in data_side}


def _receivers(vertex: Vertex) -> list[Vertex]:
    return [source for source, _ in vertex.inputs if source is not None]


def _givers(vertex: Vertex) -> list[Vertex]:
    return [source for source, _, _ in vertex.arrivals]

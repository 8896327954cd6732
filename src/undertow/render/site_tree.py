"""The operations of a model as a tree of its modules, each with what was read there."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from undertow.diagnosis import Diagnosis
from undertow.formatting import terse
from undertow.record import Run, Site
from undertow.render.blocks import Tree, TreeLine

COLUMNS = ("gradient", "passes on", "learning speed", "coherence", "progress")
OPTIONAL = 3
LINES_AT_FIRST = 40
MOST_PARTS = 50
"""Lines directly under one name; where there are more, they are gathered in packs of so many."""

CAPTION = (
    "From the input to the loss. *Gradient*: its norm as the operation receives it; *passes on*: the factor by which "
    "what it hands on is larger; *learning speed*: $\\|\\partial C/\\partial b\\|$, and *coherence*, the part of the "
    "batch's gradients that its average keeps; *progress*: the share of a step's first-order change of the loss. "
    "Of a module that is folded up: the gradient where it enters, and the sum of progress."
)


def site_tree(diagnosis: Diagnosis) -> Tree:
    """Return every Site by module, in the order of the forward pass; unfolded as far as a screen holds.

    The codes of findings stand beside the Sites that they speak of.
    """
    run = diagnosis.run
    root = _Module("")
    for site in reversed(run.sites):
        root.at(site.module).items.append(site)
    codes: dict[int, set[str]] = defaultdict(set)
    for finding in diagnosis.findings:
        for place in finding.sites:
            codes[place].add(finding.code)
    branches = packed([_Lines(run, codes, diagnosis.step).of(item) for item in root.items])
    return Tree("operation", COLUMNS, _unfolded(branches, LINES_AT_FIRST), CAPTION, OPTIONAL)


@dataclass
class _Module:
    """A module with what ran in it, in order; its name is the last part of its path."""

    name: str
    items: list["Site | _Module"] = field(default_factory=list)
    parts: dict[str, "_Module"] = field(default_factory=dict)

    def at(self, path: str) -> "_Module":
        here = self
        for name in filter(None, path.split(".")):
            if name not in here.parts:
                here.parts[name] = _Module(name)
                here.items.append(here.parts[name])
            here = here.parts[name]
        return here

    def sites(self) -> Iterable[Site]:
        for item in self.items:
            yield from (item,) if isinstance(item, Site) else item.sites()


@dataclass(frozen=True)
class _Lines:
    run: Run
    codes: Mapping[int, set[str]]
    step: int

    def of(self, item: Site | _Module, prefix: str = "") -> TreeLine:
        if isinstance(item, Site):
            return self._site(item, prefix.rstrip(".") or item.op, named=not prefix)
        name = prefix + item.name
        if len(item.items) == 1:  # a module that only holds another one needs no line of its own
            return self.of(item.items[0], f"{name}.")
        return self._module(item, name)

    def _site(self, site: Site, name: str, named: bool) -> TreeLine:
        reading = self.run.reading(site.index, self.step)
        shape = "×".join(map(str, site.shape))
        received, passed = reading["grad_output"], reading["grad_input"]
        cells = (
            terse(received),
            f"× {terse(passed / received)}" if received > 0 and not math.isnan(passed) else "",
            terse(reading["learning_speed"]),
            terse(reading["coherence"]),
            _percent(reading["progress"]),
        )
        note = shape if named else f"{site.op} {shape}"
        return TreeLine(name, f"{note}{_remarks(reading)}", cells, " ".join(sorted(self.codes.get(site.index, ()))))

    def _module(self, module: _Module, name: str) -> TreeLine:
        sites = list(module.sites())
        enters = min(sites, key=lambda site: site.index)
        progress = [self.run.reading(site.index, self.step)["progress"] for site in sites]
        known = [value for value in progress if not math.isnan(value)]
        total = _percent(math.fsum(known)) if known else ""
        received = self.run.reading(enters.index, self.step)["grad_output"]
        codes = {code for site in sites for code in self.codes.get(site.index, ())}
        parts = packed([self.of(item) for item in module.items])
        note = f"{len(sites)} operations"
        return TreeLine(name, note, (terse(received), "", "", "", total), " ".join(sorted(codes)), parts)


def _remarks(reading: Mapping[str, float]) -> str:
    # Each is nan where it can't be: a ReLU is flat for half of its values, as it should be.
    return "".join(f", {reading[name]:.0%} {name}" for name in ("saturated", "dead") if reading[name] >= 0.005)


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{share:.1%}"


def packed(lines: Sequence[TreeLine], most: int = MOST_PARTS) -> list[TreeLine]:
    """Gather lines in packs of ``most`` where there are more; a pack shows the first cell of its last line.

    Example:
        >>> [pack.label for pack in packed([TreeLine(str(i), cells=("",)) for i in range(5)], most=3)]
        ['0 … 2', '3 … 4']
    """
    if len(lines) <= most:
        return list(lines)
    gathered = []
    for first in range(0, len(lines), most):
        pack = lines[first : first + most]
        name = pack[0].label if len(pack) == 1 else f"{pack[0].label} … {pack[-1].label}"
        cells = (pack[-1].cells[0], *[""] * (len(pack[-1].cells) - 1))
        gathered.append(TreeLine(name, f"{len(pack)} parts", cells, _flags(pack), pack))
    return packed(gathered, most)


def _flags(lines: Iterable[TreeLine]) -> str:
    return " ".join(sorted({code for line in lines for code in line.flag.split()}))


def _unfolded(branches: Sequence[TreeLine], room: int) -> list[TreeLine]:
    """Unfold level by level, from the top, as long as all lines that then show find room."""
    depth, lines = 0, len(branches)
    while True:
        more = sum(len(branch.parts) for branch in _at(branches, depth))
        if not more or lines + more > room:
            return [_to_depth(branch, depth) for branch in branches]
        depth, lines = depth + 1, lines + more


def _at(branches: Iterable[TreeLine], depth: int) -> list[TreeLine]:
    level = list(branches)
    for _ in range(depth):
        level = [part for branch in level for part in branch.parts]
    return level


def _to_depth(branch: TreeLine, depth: int) -> TreeLine:
    if depth == 0:
        return branch
    return replace(branch, unfolded=True, parts=[_to_depth(part, depth - 1) for part in branch.parts])

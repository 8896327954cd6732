"""Name operations, layers and lines of source where there is little room."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from pathlib import Path

from undertow.analysis.gradient_path import GradientPath
from undertow.operations import spoken
from undertow.record import Role, Site
from undertow.wording import layer_type

ELIDED_TO = 22

_CELL = re.compile(r"[/\\]ipykernel_\d+[/\\]\d+\.py:\d+$")
_NUMBER = re.compile(r"(\d+)")


def label(site: Site) -> str:
    """Name an operation: a layer by its module, anything else with its operation.

    Example:
        >>> label(Site(0, "block.0", "add", Role.JOIN))
        'block.0 sum'
    """
    return site.name if site.role is Role.WEIGHT or not site.module else f"{site.module} {spoken(site.op)}"


def site_names(sites: Sequence[Site]) -> list[str]:
    """Name every Site on an axis; those of one name are numbered from the input's side.

    Example:
        >>> site_names([Site(0, "", "tanh", Role.ACTIVATION), Site(1, "", "tanh", Role.ACTIVATION)])
        ['tanh #2', 'tanh #1']
    """
    return _numbered([site.name for site in sites])


def full_names(sites: Sequence[Site]) -> list[str]:
    """Name every Site for a reader who sees the model's code: a layer with its type, what comes twice with a number.

    Example:
        >>> layer = Site(0, "net.3", "addmm", Role.WEIGHT, module_type="Linear")
        >>> full_names([layer, Site(1, "", "relu", Role.ACTIVATION), Site(2, "", "relu", Role.ACTIVATION)])
        ['net.3 (Linear)', 'relu #2', 'relu #1']
        >>> full_names([Site(0, "", "addmm", Role.WEIGHT, parameters=("W",))])
        ['W']
    """
    typed = [site.role is Role.WEIGHT and site.module and site.module_type for site in sites]
    kinds = [f" ({layer_type(site)})" if known else "" for site, known in zip(sites, typed, strict=True)]
    return list(map(str.__add__, _numbered([_own_name(site) for site in sites]), kinds))


def _numbered(names: Sequence[str]) -> list[str]:
    """Number what comes more than once, from the input's side: the last of the names is #1."""
    many, seen = Counter(names), Counter[str]()
    numbered = []
    for name in reversed(names):
        seen[name] += 1
        numbered.append(f"{name} #{seen[name]}" if many[name] > 1 else name)
    return numbered[::-1]


def _own_name(site: Site) -> str:
    if site.role is Role.WEIGHT and not site.module and site.parameters:
        return min(site.parameters, key=lambda name: "bias" in name)
    word = spoken(site.op)
    if site.role is Role.WEIGHT and site.module:
        return site.module
    return f"{site.module} {word}" if site.module else word


def every_layer(sites: Sequence[Site]) -> str:
    """Name all layers by their types, the input's side first, those that differ in a number together.

    Example:
        >>> convolutions = [Site(k, str(8 - 2 * k), "convolution", Role.WEIGHT, module_type="Conv2d") for k in range(5)]
        >>> every_layer([Site(9, "head", "addmm", Role.WEIGHT, module_type="Linear"), *convolutions])
        '0, 2 .. 8 (Conv2d); head (Linear)'
    """
    by_type: dict[str, dict[str, None]] = {}
    for site in reversed(sites):
        if site.role is Role.WEIGHT:
            by_type.setdefault(layer_type(site) if site.module else "", {})[_own_name(site)] = None
    kinds = ((", ".join(in_ranges(list(names))), kind) for kind, names in by_type.items())
    return "; ".join(f"{names} ({kind})" if kind else names for names, kind in kinds)


def in_ranges(names: Sequence[str]) -> list[str]:
    """Write names that differ in one number as one.

    Example:
        >>> in_ranges([*(f"blocks.{k}.fc" for k in range(6)), "head"]), in_ranges(["0", "2", "4", "6"])
        (['blocks.{0 .. 5}.fc', 'head'], ['0, 2 .. 6'])
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        alike.setdefault(tuple(_NUMBER.split(name)[::2]), []).append(name)
    return [text for group in alike.values() for text in _together(group)]


def _together(names: Sequence[str]) -> Iterator[str]:
    """Write names that differ in numbers only, in as few words as can be."""
    parts = [_NUMBER.split(name) for name in names]
    varying = [place for place in range(1, len(parts[0]), 2) if len({part[place] for part in parts}) > 1]
    if len(varying) < 2:
        yield _as_range(parts, varying[0]) if varying else names[0]
        return
    fewest = min(varying, key=lambda place: len({part[place] for part in parts}))
    apart: dict[str, list[str]] = {}
    for name, part in zip(names, parts, strict=True):
        apart.setdefault(part[fewest], []).append(name)
    for group in apart.values():
        yield from _together(group)


def _as_range(parts: Sequence[Sequence[str]], place: int) -> str:
    values = sorted({int(part[place]) for part in parts})
    steps = {after - before for before, after in pairwise(values)}
    shown = ", ".join(_runs(values))
    if len(steps) == 1 and len(values) > 3:
        shown = f"{'' if steps == {1} else f'{values[0]}, '}{values[0] + (steps != {1}) * min(steps)} .. {values[-1]}"
    before, after = "".join(parts[0][:place]), "".join(parts[0][place + 1 :])
    return f"{before}{{{shown}}}{after}" if before or after else shown


def _runs(values: Sequence[int]) -> Iterator[str]:
    """Write numbers that follow each other, four or more, by the first and the last."""
    start = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or values[place] != values[place - 1] + 1:
            run = values[start:place]
            yield f"{run[0]} .. {run[-1]}" if len(run) > 3 else ", ".join(map(str, run))
            start = place


def waypoint_names(gradient_path: GradientPath) -> list[str]:
    """Name each waypoint: its label, numbered in the order of the forward pass where it comes more than once."""
    seen: Counter[str] = Counter()
    found = []
    for waypoint in reversed(gradient_path.waypoints):
        name = label(gradient_path.run.sites[waypoint])
        seen[name] += 1
        found.append(f"{name} #{seen[name]}" if seen[name] > 1 else name)
    return found[::-1]


def ties(sites: Sequence[Site], most: int = 3) -> list[str]:
    """Say of layers that compute with another module's weights whose these are, in one sentence; empty without any.

    Example:
        >>> ties([Site(0, "lm_head", "mm", Role.WEIGHT, parameters=("wte.weight",))])
        ['lm_head is tied with wte.']
    """
    found = list(dict.fromkeys((site.module, site.tied_with) for site in sites if site.tied_with))
    said = [f"{module} is tied with {owner}" for module, owner in found[:most]]
    more = [f"{len(found) - most} more are tied"] if len(found) > most else []
    return [f"{'; '.join(said + more)}."] if said else []


def elided(name: str, most: int = ELIDED_TO) -> str:
    """Shorten a long name to its end, which tells more than its beginning.

    Example:
        >>> elided("encoder.layers.11.self_attn.out_proj")
        '…11.self_attn.out_proj'
    """
    return name if len(name) <= most else f"…{name[1 - most :]}"


def without_shared_path(name: str, beside: str) -> str:
    """Leave out the path that a name and the one beside it both begin with.

    Example:
        >>> without_shared_path("transformer.h.10.add", "transformer.h.11.add"), without_shared_path("0", "8")
        ('10.add', '0')
    """
    parts, others = name.split("."), beside.split(".")
    shared = sum(1 for _ in takewhile(bool, map(str.__eq__, parts[:-1], others)))
    return ".".join(parts[shared:])


def near(source: str) -> str:
    """Name a line of source as it is called from the folder one is in.

    Example:
        >>> near(str(Path.cwd() / "net.py:12")), near("/elsewhere/net.py:3"), near("/any/ipykernel_7/123.py:5")
        ('net.py:12', '/elsewhere/net.py:3', 'line 5 of a cell')
    """
    if _CELL.search(source):
        return f"line {source.rpartition(':')[2]} of a cell"
    path = Path(source)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source

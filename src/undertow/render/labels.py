"""Name operations, layers and lines of source where there is little room."""

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from undertow.analysis.gradient_path import GradientPath
from undertow.record import Role, Site

ELIDED_TO = 22


def label(site: Site) -> str:
    """Name an operation: a layer by its module, anything else with its operation.

    Example:
        >>> label(Site(0, "block.0", "add", Role.JOIN))
        'block.0 add'
    """
    return site.name if site.role is Role.WEIGHT or not site.module else f"{site.module} {site.op}"


def site_names(sites: Sequence[Site]) -> list[str]:
    """Name every Site on an axis; those of one name are numbered from the input's side.

    Example:
        >>> site_names([Site(0, "", "tanh", Role.ACTIVATION), Site(1, "", "tanh", Role.ACTIVATION)])
        ['tanh #2', 'tanh #1']
    """
    plain = [site.name for site in sites]
    many, seen = Counter(plain), Counter[str]()
    named = []
    for name in reversed(plain):
        seen[name] += 1
        named.append(f"{name} #{seen[name]}" if many[name] > 1 else name)
    return named[::-1]


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
        >>> near(str(Path.cwd() / "net.py:12")), near("/elsewhere/net.py:3")
        ('net.py:12', '/elsewhere/net.py:3')
    """
    path = Path(source)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source

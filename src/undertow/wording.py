"""Words for people: factors as they are said, operations by the words of the field, sites by name and type."""

import math
from collections.abc import Sequence

from undertow.operations import spoken
from undertow.pytorch_code import spelled
from undertow.record import Role, Run, Site

_HOLDERS = frozenset({"ParameterList", "ParameterDict"})
_PUBLIC_TYPES = {"NonDynamicallyQuantizableLinear": "Linear"}
_LARGE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def amount(factor: float) -> str:
    """Say a factor of 1 or more in words.

    Example:
        >>> amount(1.73e6), amount(12.4), amount(1.62), amount(8400), amount(4e15)
        ('1.7 million', '12', '1.6', '8,400', '10^15')
    """
    if not math.isfinite(factor):
        return "infinitely many"
    if factor >= 1e15:
        return f"10^{math.floor(math.log10(factor))}"
    for size, word in _LARGE:
        if factor >= 0.9995 * size:
            return f"{_two_digits(factor / size)} {word}"
    return _two_digits(factor)


def size(value: float, digits: int = 3) -> str:
    """Write a size with three digits or so, large ones in words, and nothing as a power of ten that needn't be.

    Example:
        >>> size(0.0473), size(213.2), size(1017.0), size(-3.19e6), size(2.3026, 4)
        ('0.0473', '213', '1,000', '-3.2 million', '2.303')
    """
    if not math.isfinite(value) or abs(value) < 999.5:
        return f"{value:.{digits}g}"
    return f"{'-' if value < 0 else ''}{amount(abs(value))}"


def over_n(variance: float) -> str:
    """Write the variance of a weight, given as n times it for n inputs.

    Example:
        >>> over_n(0.334), over_n(402.0), over_n(3.0e4)
        ('0.33/n', '402/n', '30,000/n')
    """
    return f"{size(variance, 2 if abs(variance) < 99.5 else 3)}/n"


def times(factor: float, less: str = "less", more: str = "more") -> str:
    """Say how many times less or more something is.

    Example:
        >>> times(1 / 1.7e6), times(12.0)
        ('1.7 million times less', '12 times more')
    """
    if factor == 0:
        return f"infinitely {less}"
    return f"{amount(1 / factor)} times {less}" if factor < 1 else f"{amount(factor)} times {more}"


def times_of_decades(decades: float, less: str = "less", more: str = "more") -> str:
    """Say the same of a factor given by its decades, which may be too large for a float.

    Example:
        >>> times_of_decades(-6.24), times_of_decades(-450.0)
        ('1.7 million times less', '10^450 times less')
    """
    if abs(decades) >= 15:
        return f"10^{abs(decades):.0f} times {less if decades < 0 else more}"
    return times(10.0**decades, less, more)


def part_of(share: float) -> str:
    """Say a share as the beginning of a sentence.

    Example:
        >>> [part_of(share) for share in (1.02, 0.93, 0.7, 0.48, 0.3, 0.1)]
        ['All', 'Nearly all', 'Most', 'Half', 'A third', 'A part']
    """
    bounds = ((0.97, "All"), (0.85, "Nearly all"), (0.6, "Most"), (0.4, "Half"), (0.27, "A third"))
    return next((word for bound, word in bounds if share >= bound), "A part")


def few(names: Sequence[str], most: int = 3) -> str:
    """List the first few of several names.

    Example:
        >>> few(["a", "b"]), few(["a", "b", "c", "d"])
        ('a and b', 'a, b, c and 1 more')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def called(run: Run, site: Site) -> str:
    """Name a Site with its type, as in "layer 0 (Conv2d)"; of several alike with a number, the first being #1.

    Example:
        >>> layer = Site(0, "net.3", "addmm", Role.WEIGHT, module_type="Linear")
        >>> relu = Site(1, "", "relu", Role.ACTIVATION, activation="relu")
        >>> run = Run({}, (layer, relu, Site(2, "", "relu", Role.ACTIVATION, activation="relu")))
        >>> called(run, layer), called(run, relu)
        ('layer net.3 (Linear)', 'ReLU #2')
    """
    kind = f" ({layer_type(site)})" if site.module_type else ""
    word = spelled(site.activation) if site.activation else spoken(site.op)
    if site.role is Role.WEIGHT and site.module and site.module_type not in _HOLDERS:
        return f"layer {site.module}{kind}"
    if site.role is Role.WEIGHT and site.parameters:
        return f"the {word} with {min(site.parameters, key=lambda name: 'bias' in name)}"
    if site.module and word.replace(" ", "").lower() == site.module_type.lower():
        return f"{_part(site)} {site.module}{kind}"
    numbered = f"{word}{_number(run, site)}"
    return f"{numbered} in {site.module}{kind}" if site.module else numbered


def layer_type(site: Site) -> str:
    """Return the class of a Site's module; of one that torch keeps for itself, the class it stands for.

    Example:
        >>> layer_type(Site(0, "out_proj", "addmm", Role.WEIGHT, module_type="NonDynamicallyQuantizableLinear"))
        'Linear'
    """
    return _PUBLIC_TYPES.get(site.module_type, site.module_type)


def sentence(text: str) -> str:
    """Return a text with a capital at its beginning.

    Example:
        >>> sentence("layer 0 gets none.")
        'Layer 0 gets none.'
    """
    return text[:1].upper() + text[1:]


def line_of(source: str) -> str:
    """Return ``file:line`` without the folders.

    Example:
        >>> line_of("/home/me/train.py:12")
        'train.py:12'
    """
    return source.rpartition("/")[2].rpartition("\\")[2]


def _part(site: Site) -> str:
    return {Role.ACTIVATION: "activation", Role.NORM: "normalisation"}.get(site.role, "module")


def _number(run: Run, site: Site) -> str:
    """Return the place among operations alike, in the order of the forward pass."""
    alike = [s.index for s in reversed(run.sites) if (s.module, s.op) == (site.module, site.op)]
    return f" #{alike.index(site.index) + 1}" if len(alike) > 1 and site.index in alike else ""


def _two_digits(value: float) -> str:
    if value >= 9.95:
        digits = max(math.floor(math.log10(value)) - 1, 0)
        return f"{round(value / 10**digits) * 10**digits:,.0f}"
    return f"{value:.2g}"

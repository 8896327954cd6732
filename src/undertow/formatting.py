"""Numbers as a reader wants them: on pages, in sentences, in the terminal."""

import math
import re
from collections.abc import Iterable, Sequence

MINUS = "\u2212"
DASH = "\u2013"
LARGEST_DECADES = 300
"""Powers of ten that a float, and a browser's number, holds with room to spare."""

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """Write a number with three digits, and with a power of ten only where it must be.

    Example:
        >>> [number(v) for v in (0.0023719, 96.48, 12345, -4.2e-7, 0, float("nan"))]
        ['0.00237', '96.5', '12,345', '−4.2×10⁻⁷', '0', 'not finite']
    """
    if not math.isfinite(value):
        return "not finite"
    if value == 0 or 1e-4 <= abs(value) < 1e3:
        text = f"{value:.3g}"
    elif 1e3 <= abs(value) < 1e6:
        text = f"{value:,.0f}"
    else:
        mantissa, exponent = f"{value:.2e}".split("e")
        shortened = mantissa.rstrip("0").rstrip(".")
        text = f"{shortened}\u00d710{str(int(exponent)).translate(_RAISED)}"
    return text.replace("-", MINUS)


def terse(value: float) -> str:
    """Write a number for the terminal: three digits without the zero before the point, nothing for nan.

    Example:
        >>> terse(0.20449), terse(0.00301), terse(1.0), terse(2e-7), terse(float("nan"))
        ('.204', '.00301', '1.00', '2.0e-07', '')
    """
    if math.isnan(value):
        return ""
    if value == 0 or not 1e-3 <= abs(value) < 1e4:
        return f"{value:.1e}" if value else "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    shown = f"{value:.{max(digits, 0)}f}"
    return shown.replace("0.", ".", 1) if shown.lstrip("-").startswith("0.") else shown


def signed_terse(value: float) -> str:
    """Write a number tersely with a true minus sign, and say so where it is none.

    Example:
        >>> signed_terse(-0.24), signed_terse(float("nan"))
        ('−.240', 'not a number')
    """
    return terse(value).replace("-", MINUS) or "not a number"


def power(decades: float) -> str:
    """Write 10 to the power of so many decades, also where it is too small or large for a float.

    Example:
        >>> power(-3.0), power(-412.5), power(-float("inf"))
        ('0.001', '3.2×10⁻⁴¹³', '0')
    """
    if math.isinf(decades):
        return "0" if decades < 0 else "not finite"
    if abs(decades) < LARGEST_DECADES:
        return number(10.0 ** float(decades))
    whole = math.floor(decades)
    return f"{10 ** (decades - whole):.1f}\u00d710{str(whole).translate(_RAISED)}"


def aligned(values: Sequence[float]) -> list[str]:
    """Write a column of numbers: with equally many decimals where all are of one size, otherwise each by `number`.

    Example:
        >>> aligned([96.46, 96.9, float("nan")]), aligned([0.0024, 0.31])
        (['96.46', '96.90', 'not finite'], ['0.0024', '0.31'])
    """
    finite = [v for v in values if math.isfinite(v)]
    sizes = [abs(v) for v in finite if v] or [0.0]
    decimals = max((len(f"{v:.4g}".partition(".")[2]) for v in finite), default=0)
    if not (min(sizes) >= 1e-4 and max(sizes) < min(100 * min(sizes), 1e6)):
        return [number(v) for v in values]
    return [f"{v:,.{decimals}f}".replace("-", MINUS) if math.isfinite(v) else number(v) for v in values]


_TYPESET = (
    (re.compile(r"(?<![\w.)\]\-\u2212])-(?=\.?\d)"), MINUS),
    (re.compile(r"(?<=\d) - (?=[\da-z])"), f" {MINUS} "),
    (re.compile(r"(?<=\d) (?=(?:%|(?:ms|s|min|h|kB|MB|GB)\b))"), "\u00a0"),
    (re.compile(r" <= "), " \u2264 "),
    (re.compile(r" >= "), " \u2265 "),
    (re.compile(r" -> "), " \u2192 "),
)


_POWER = re.compile(r"(?<![\w.])10\^(-?\d+)\b")
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]\d+)\b")


def typeset(text: str) -> str:
    """Write a sentence of plain signs as a page sets it: true minus signs, no line that begins with % or a unit.

    Example:
        >>> typeset("from -4.29 to -.5 decades, 70 % of fc-1"), typeset("14 -> 0, rate <= -0.08")
        ('from −4.29 to −.5 decades, 70\\xa0% of fc-1', '14 → 0, rate ≤ −0.08')
        >>> typeset("7.3e-09 of 1e+06, but fc1e-2")
        '7.3×10⁻⁹ of 1×10⁶, but fc1e-2'
        >>> typeset("31 remedies in 3 min 29 s, 10^15 times")
        '31 remedies in 3\xa0min 29\xa0s, 10¹⁵ times'
    """
    text = _POWER.sub(lambda found: f"10{found[1].translate(_RAISED)}", text)
    text = _SCIENTIFIC.sub(lambda found: f"{found[1]}\u00d710{str(int(found[2])).translate(_RAISED)}", text)
    for pattern, sign in _TYPESET:
        text = pattern.sub(sign, text)
    return text


def percent(share: float, digits: int = 0) -> str:
    """Write a share as a percentage.

    Example:
        >>> percent(0.8612), percent(0.00006, 3)
        ('86\\xa0%', '0.006\\xa0%')
    """
    return f"{100 * share:.{digits}f}\u00a0%"  # number and sign stay on one line


def probability(p: float) -> str:
    """Write how likely something is by chance: three digits after the point, and no small number as zero.

    Example:
        >>> probability(0.0421), probability(3e-7), probability(float("nan"))
        ('0.042', '<\xa00.001', '')
    """
    return "" if math.isnan(p) else "<\u00a00.001" if p < 1e-3 else f"{p:.3f}"


def signed(value: float, digits: int = 2) -> str:
    """Write a change with its sign and so many digits after the point.

    Example:
        >>> signed(0.3), signed(-0.24)
        ('+0.30', '−0.24')
    """
    return f"{value:+.{digits}f}".replace("-", MINUS)


def span(low: float, high: float) -> str:
    """Write a range, both ends as short as can be.

    Example:
        >>> span(66.2, 251.0)
        '66.2 to 251'
    """
    return f"{number(low)} to {number(high)}"


def listed(values: Iterable[float]) -> str:
    """Write numbers in a row.

    Example:
        >>> listed([0.0021, 0.0102, 126.4])
        '0.0021, 0.0102, 126'
    """
    return ", ".join(number(float(value)) for value in values)


def counted(n: int, what: str) -> str:
    """Write a count with its noun in the right number.

    Example:
        >>> counted(1, "hidden layer"), counted(4, "hidden layer")
        ('1 hidden layer', '4 hidden layers')
    """
    return f"{n} {what}{'s' * (n != 1)}"

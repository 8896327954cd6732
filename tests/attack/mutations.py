"""Spoil bytes, JSON values and text, each as a generator of random numbers says: the same number, the same case."""

import copy

HOSTILE = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 10**40, -(10**40), 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"),
    "inf", "-inf", "nan", "", "a", "\x1b[2J\x07", "a\0b", "\ud800", "\u202egnp.exe", "x" * 3000, "../../etc/passwd",
    "<script>alert(1)</script>", "{{7*7}}", "%s%n", "layers.0", [], {}, [[]], [None], [1, 2], {"a": 1}, {"": []},
    ["a", "b"], [{"a": 1}], [0] * 500,
)  # fmt: skip
"""Values that somebody might put anywhere."""


def bytes_spoiled(content, rng):
    """Flip, overwrite, cut, insert or move some bytes."""
    spoiled = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        place, kind = int(rng.integers(len(spoiled) or 1)), int(rng.integers(6))
        size = int(rng.integers(1, 64))
        if kind <= 2:
            spoiled[place : place + 1] = bytes([(spoiled[place] if spoiled else 0) ^ 1 << int(rng.integers(8))])
        elif kind == 3:
            spoiled[place : place + size] = rng.bytes(size)
        elif kind == 4:
            del spoiled[place : place + size]
        else:
            spoiled[place:place] = rng.bytes(size) if rng.integers(2) else bytes(size)
    return bytes(spoiled[: int(rng.integers(len(spoiled) + 1))] if rng.integers(20) == 0 else spoiled)


def bits_flipped(content, rng):
    """Flip one to three bits."""
    spoiled = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        spoiled[int(rng.integers(len(spoiled)))] ^= 1 << int(rng.integers(8))
    return bytes(spoiled)


def value_spoiled(value, rng):
    """Return a JSON value with one to three of its parts replaced, dropped, repeated, exchanged or renamed."""
    spoiled = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        spoiled = _once(spoiled, rng)
    return spoiled


def _once(value, rng):
    nodes = list(_nodes(value))
    if not nodes:
        return _hostile(rng)
    holder, key = nodes[int(rng.integers(len(nodes)))]
    kind = int(rng.integers(8))
    if kind <= 3:
        holder[key] = _hostile(rng)
    elif kind == 4:
        del holder[key]
    elif kind == 5 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == 5:
        holder[str(_hostile(rng))[:20]] = holder.pop(key)
    elif kind == 6:
        other, place = nodes[int(rng.integers(len(nodes)))]
        holder[key] = copy.deepcopy(other[place]) if _there(other, place) else None
    elif isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * (-1, 2, 0.5, 10**6)[int(rng.integers(4))]
    return value


def _hostile(rng):
    return copy.deepcopy(HOSTILE[int(rng.integers(len(HOSTILE)))])


def _there(holder, place):
    return place in holder if isinstance(holder, dict) else place < len(holder)


def _nodes(value):
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _nodes(value[key])

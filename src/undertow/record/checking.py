"""Check values from a file that nobody vouches for, before anything is made of them: one schema for every format.

A Run's file and a report's JSON hold the same nouns. Each of their fields is one of a few kinds; what isn't of its kind
is named in one sentence.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class FieldKind(NamedTuple):
    """Say what a value should be.

    Attributes:
        words: that name it in a message.
        holds: tells whether a value is one.
        schema: the same as a JSON schema says it.
    """

    words: str
    holds: Callable[[Any], bool]
    schema: Mapping[str, Any]


LARGEST = 2**63
MOST_DIMENSIONS = 2


def _is_stored(value: Any) -> bool:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return isinstance(value, float) or abs(value) < LARGEST
    return value is None or (isinstance(value, str) and value in ("inf", "-inf"))


def _a_list_of(kind: FieldKind, words: str) -> FieldKind:
    schema = {"type": "array", "items": kind.schema}
    return FieldKind(words, lambda value: isinstance(value, list | tuple) and all(map(kind.holds, value)), schema)


TEXT = FieldKind("a text", lambda value: isinstance(value, str), {"type": "string"})
TEXT_OR_NONE = FieldKind(
    "a text or null", lambda value: value is None or isinstance(value, str), {"type": ["string", "null"]}
)
FLAG = FieldKind("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
COUNT = FieldKind(
    "a whole number from 0",
    lambda value: type(value) is int and 0 <= value < LARGEST,
    {"type": "integer", "minimum": 0},
)
STEP = FieldKind(
    "a whole number", lambda value: type(value) is int and -LARGEST <= value < LARGEST, {"type": "integer"}
)
STEP_OR_NONE = FieldKind(
    "a whole number or null", lambda value: value is None or STEP.holds(value), {"type": ["integer", "null"]}
)
NUMBER = FieldKind(
    'a number, null, "inf" or "-inf"', _is_stored, {"anyOf": [{"type": ["number", "null"]}, {"enum": ["inf", "-inf"]}]}
)
MAPPING = FieldKind(
    "a table",
    lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
    {"type": "object"},
)
LIST = FieldKind("a list", lambda value: isinstance(value, list | tuple), {"type": "array"})
TEXTS = _a_list_of(TEXT, "a list of texts")
COUNTS = _a_list_of(COUNT, "a list of whole numbers")
TABLES = _a_list_of(MAPPING, "a list of tables")
NUMBERS = FieldKind(
    "a table of numbers",
    lambda value: MAPPING.holds(value) and all(map(NUMBER.holds, value.values())),
    {"type": "object", "additionalProperties": NUMBER.schema},
)

SITE: Mapping[str, FieldKind] = {
    "index": COUNT,
    "module": TEXT,
    "op": TEXT,
    "role": TEXT,
    "shape": COUNTS,
    "activation": TEXT_OR_NONE,
    "n_out": COUNT,
    "weight_shape": COUNTS,
    "parameters": TEXTS,
    "module_type": TEXT,
    "inside": NUMBER,
    "source": TEXT,
}
EVENT: Mapping[str, FieldKind] = {"step": STEP, "time": NUMBER, "kind": TEXT, "message": TEXT, "data": MAPPING}
FINDING: Mapping[str, FieldKind] = {
    **dict.fromkeys(("code", "name", "severity", "where", "message", "threshold", "equation", "source"), TEXT),
    **dict.fromkeys(("advice", "snippet", "follows_from"), TEXT),
    "sites": COUNTS,
    "evidence": NUMBERS,
    "confidence": NUMBER,
    "began": STEP_OR_NONE,
    "ended": STEP_OR_NONE,
    "born": FLAG,
}
HEADER: Mapping[str, FieldKind] = {
    **dict.fromkeys(("model", "optimizer", "name", "run"), TEXT),
    **dict.fromkeys(("parameters", "repeats", "repeats_kept"), COUNT),
    **dict.fromkeys(("loss", "scale", "lr", "reach", "accumulated", "ended"), NUMBER),
    **dict.fromkeys(("unreached", "not run", "unused", "dtypes", "zero gradients", "zero values"), TEXTS),
    **dict.fromkeys(("pairs", "terms", "norms", "other leaves"), TABLES),
    **dict.fromkeys(("partial", "held", "rates", "decay", "chosen", "cut off"), MAPPING),
    "graphs": COUNTS,
}
"""Of the facts that pages and rules read; others are as they are."""

RUN: Mapping[str, FieldKind] = {
    "header": MAPPING,
    "sites": TABLES,
    "edges": LIST,
    "parameters": TEXTS,
    **dict.fromkeys(("columns", "edge_columns", "steps", "scalars", "parameter_columns"), MAPPING),
    "parameter_steps": MAPPING,
    "events": TABLES,
}


def checked(data: Any, kinds: Mapping[str, FieldKind], what: str, closed: bool = True) -> Mapping[str, Any]:
    """Return a table whose values are of their kinds.

    Args:
        data: from a file.
        kinds: by name.
        what: it is, for the message.
        closed: whether there may be no other names.

    Raises:
        ValueError: something else.

    Example:
        >>> checked({"step": 1.5}, {"step": COUNT}, "an event")
        Traceback (most recent call last):
        ValueError: an event says step = 1.5, which is not a whole number from 0
    """
    if not MAPPING.holds(data):
        raise ValueError(f"{what} is no table")
    for name, value in data.items():
        if name not in kinds:
            if closed:
                raise ValueError(f"{what} has something named {name[:80]!r}, which no undertow writes")
        elif not kinds[name].holds(value):
            raise ValueError(f"{what} says {name} = {_short(value)}, which is not {kinds[name].words}")
    table: Mapping[str, Any] = data
    return table


def checked_pairs(data: Any, sites: int) -> list[tuple[int, int]]:
    """Return edges as pairs of Sites, each from an earlier one to a later.

    Raises:
        ValueError: something else.

    Example:
        >>> checked_pairs([[0, 1], [0, 2]], 3)
        [(0, 1), (0, 2)]
    """
    if not LIST.holds(data) or not all(COUNTS.holds(pair) and len(pair) == 2 for pair in data):
        raise ValueError("edges are no pairs of whole numbers")
    if any(not pair[0] < pair[1] < sites for pair in data):
        raise ValueError("edges between Sites that are not there, or that lead back to the loss")
    return [(pair[0], pair[1]) for pair in data]


def checked_column(data: Any, name: str) -> np.ndarray[Any, np.dtype[np.floating]]:
    """Return one column of numbers from JSON values: what it takes in memory, its values stand for.

    Raises:
        ValueError: something else.

    Example:
        >>> checked_column({"dtype": "float32", "shape": [2, 1], "values": [1.5, "inf"]}, "dead").tolist()
        [[1.5], [inf]]
    """
    column = checked(data, {"dtype": TEXT, "shape": COUNTS, "values": LIST}, f"column {name!r}")
    shape, values = column["shape"], column["values"]
    if column["dtype"] not in ("float32", "float64") or len(shape) > MOST_DIMENSIONS or math.prod(shape) != len(values):
        raise ValueError(f"column {name!r} has another type, shape or number of values than it says")
    if not all(map(NUMBER.holds, values)):
        raise ValueError(f"column {name!r} holds something that is not {NUMBER.words}")
    numbers = [np.nan if value is None else float(value) for value in values]
    with np.errstate(over="ignore"):
        return np.array(numbers, column["dtype"]).reshape(shape)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or what is nested as deep
        return "something long"
    return text if len(text) <= 60 else f"{text[:60]}..."

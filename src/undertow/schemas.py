"""Publish a JSON schema of everything that undertow prints or writes as JSON.

What is read back, a Run and a finding, is described once, in `undertow.record.checking`: the same tables that check a
file make its schema. ``undertow schema NAME`` prints one, and docs/schemas holds all.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from inspect import cleandoc
from typing import Any

from undertow.record import BackwardGain, Event, Finding, Run, Severity, Site
from undertow.record.checking import (
    COUNT,
    COUNTS,
    EVENT,
    FINDING,
    FLAG,
    HEADER,
    LIST,
    MAPPING,
    NUMBER,
    NUMBERS,
    RUN,
    SITE,
    TEXT,
    TEXTS,
    FieldKind,
)
from undertow.record.sites import Role

__all__ = ["SCHEMAS", "schema"]

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"

GAIN: Mapping[str, FieldKind] = {
    "start": COUNT, "end": COUNT, "gain": NUMBER, "factors": NUMBERS, "shares": NUMBERS, "main": COUNTS,
}  # fmt: skip
SEGMENT: Mapping[str, FieldKind] = {
    **dict.fromkeys(("start", "end"), COUNT),
    **dict.fromkeys(("measured", "expected", "spread", "weight_var", "q"), NUMBER),
    **dict.fromkeys(("name", "reason", "saying"), TEXT),
    **dict.fromkeys(("residual", "departs"), FLAG),
    "departure": NUMBERS,
    "layers": COUNTS,
}
THEORY: Mapping[str, FieldKind] = {
    **dict.fromkeys(("expected", "measured", "spread"), NUMBER),
    "departs": FLAG, "reasons": TEXTS, "saying": TEXT, "stretches": LIST,
}  # fmt: skip
REPORT: Mapping[str, FieldKind] = {"format": TEXT, "run": MAPPING, "gains": LIST, "theory": MAPPING, "findings": LIST}
CHECK: Mapping[str, FieldKind] = {
    **dict.fromkeys(("format", "undertow", "target", "fail_on"), TEXT),
    "failed": FLAG, "silenced": COUNT, "findings": LIST,
}  # fmt: skip
REMEDY: Mapping[str, FieldKind] = {
    **dict.fromkeys(("code", "name", "reason", "lines"), TEXT),
    "settings": MAPPING, "answers": TEXTS, "urgency": NUMBER, "predicted": NUMBER,
}  # fmt: skip
COMPARISON: Mapping[str, FieldKind] = {
    **dict.fromkeys(("start", "effect", "p"), NUMBER),
    **dict.fromkeys(("remedies", "control", "treated", "interval", "seconds"), LIST),
    "seeds": COUNTS,
    "verdict": TEXT,
}
ATTEMPT: Mapping[str, FieldKind] = {
    "remedies": LIST, "stage": TEXT, "scores": LIST, "error": TEXT, "decades": NUMBER, "predicted": NUMBER,
}  # fmt: skip
TREATMENT: Mapping[str, FieldKind] = {
    **dict.fromkeys(("format", "verdict", "headline", "summary", "measure", "snippet"), TEXT),
    **dict.fromkeys(("remedies", "comparisons", "findings", "attempts", "by_hand"), LIST),
    **dict.fromkeys(("curves", "gradient"), MAPPING),
    "notes": TEXTS, "steps": COUNT, "seeds": COUNT, "seconds": NUMBER, "interrupted": FLAG, "running": TEXT,
}  # fmt: skip
FORECAST: Mapping[str, FieldKind] = {
    "activation": TEXT, "depth": COUNT, "layers": MAPPING,
    **dict.fromkeys(("weight_var", "bias_var", "width", "q_star", "chi", "xi_q", "xi_c", "xi_grad"), NUMBER),
    **dict.fromkeys(("trainable_depth", "norm_factor"), NUMBER),
    "phase": TEXT,
}  # fmt: skip
SWEEP: Mapping[str, FieldKind] = {"name": TEXT, "settings": MAPPING, "cells": LIST}

NUMBERS_LIST: Schema = {"type": "array", "items": NUMBER.schema}
A_COLUMN: Schema = {
    "description": "a column of numbers, row after row; its shape is [steps, sites], or [steps]",
    "type": "object",
    "additionalProperties": False,
    "required": ["dtype", "shape", "values"],
    "properties": {"dtype": {"enum": ["float32", "float64"]}, "shape": COUNTS.schema, "values": NUMBERS_LIST},
}
COLUMNS: Schema = {"type": "object", "additionalProperties": {"$ref": "#/$defs/column"}}


def schema(name: str) -> Schema:
    """Return the JSON schema of an output, by name (see `SCHEMAS`).

    Raises:
        ValueError: there is none of that name.

    Example:
        >>> schema("check")["title"]
        'What undertow check --json prints'
        >>> schema("cheque")
        Traceback (most recent call last):
        ValueError: there is no schema 'cheque'; there are: check, finding, forecast, report, sweep, treatment
    """
    if name not in SCHEMAS:
        raise ValueError(f"there is no schema {name!r}; there are: {', '.join(SCHEMAS)}")
    title, make, parts = SCHEMAS[name]
    defs = {part: PARTS[part]() for part in parts}
    head = {"$schema": DRAFT, "$id": f"urn:undertow:schema:{name}:1", "title": title}
    return {**head, **make(), **({"$defs": defs} if defs else {})}


def of(
    kinds: Mapping[str, FieldKind], about: type | None = None, optional: Iterable[str] = (), **inside: Schema
) -> Schema:
    """Return the schema of a table.

    Args:
        kinds: of its values, by name; there are no others.
        about: the class that it is made of, whose docstring describes its attributes.
        optional: names that may be missing.
        inside: schemas of values that say more than their kind does, by name.

    Example:
        >>> of({"step": COUNT})["properties"], of({"step": COUNT})["required"]
        ({'step': {'type': 'integer', 'minimum': 0}}, ['step'])
    """
    said = _described(about) if about else {}
    properties = {
        name: {**inside.get(name, kind.schema), **({"description": said[name]} if name in said else {})}
        for name, kind in kinds.items()
    }
    required = [name for name in kinds if name not in set(optional)]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _described(about: type) -> dict[str, str]:
    """Return what a class's docstring says of its attributes, by name; a file's ``born`` is `Finding.from_start`."""
    _, _, rest = cleandoc(about.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w[\w, ]*): (.+(?:\n {8}.+)*)", rest.partition("\n\n")[0], flags=re.MULTILINE)
    said = {name: " ".join(words.split()) for names, words in entries for name in names.split(", ")}
    return {"born" if name == "from_start" else name: words for name, words in said.items()}


def _all_of(part: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/$defs/{part}"}}


def _finding(**more: FieldKind) -> Schema:
    return of({**FINDING, **more}, Finding, severity={"enum": [str(each) for each in Severity]})


def _run() -> Schema:
    header = {"type": "object", "properties": {name: kind.schema for name, kind in HEADER.items()}}
    columns = dict.fromkeys(("columns", "edge_columns", "steps", "scalars", "parameter_columns"), COLUMNS)
    edges = {"type": "array", "items": {**COUNTS.schema, "minItems": 2, "maxItems": 2}}
    return of(
        RUN, Run, header=header, sites=_all_of("site"), edges=edges, events=_all_of("event"),
        parameter_steps={"$ref": "#/$defs/column"}, **columns,
    )  # fmt: skip


def _report() -> Schema:
    return of(
        REPORT, format={"const": "undertow report 1"}, run={"$ref": "#/$defs/run"}, gains=_all_of("gain"),
        theory={"$ref": "#/$defs/theory"}, findings=_all_of("finding"),
    )  # fmt: skip


def _check() -> Schema:
    severities = {"enum": [str(each) for each in Severity]}
    return of(CHECK, format={"const": "undertow check 1"}, fail_on=severities, findings=_all_of("checked_finding"))


def _comparison() -> Schema:
    pair = {**NUMBERS_LIST, "minItems": 2, "maxItems": 2}
    verdicts = {"enum": ["HELPS", "NO EFFECT", "HARMS", "UNTESTED"]}
    return of(
        COMPARISON, remedies=_all_of("remedy"), control=NUMBERS_LIST, treated=NUMBERS_LIST, interval=pair, seconds=pair,
        verdict=verdicts,
    )  # fmt: skip


def _attempt() -> Schema:
    stages = {"enum": ["prescribed", "examined", "raced", "confirmed"]}
    return of(ATTEMPT, remedies=_all_of("remedy"), stage=stages, scores=NUMBERS_LIST)


def _treatment() -> Schema:
    point = {"type": "array", "prefixItems": [TEXT.schema, NUMBER.schema], "minItems": 2, "maxItems": 2}
    return of(
        TREATMENT, optional=("running",), format={"const": "undertow treatment 1"},
        verdict={"enum": ["healthy", "repaired", "nothing helps"]}, measure={"enum": ["score", "loss"]},
        remedies=_all_of("remedy"), by_hand=_all_of("remedy"), findings=_all_of("finding"),
        comparisons=_all_of("comparison"), attempts=_all_of("attempt"),
        curves={"type": "object", "additionalProperties": {"type": "array", "items": NUMBERS_LIST}},
        gradient={"type": "object", "additionalProperties": {"type": "array", "items": point}},
    )  # fmt: skip


def _forecast() -> Schema:
    phases = {"enum": ["ordered", "critical", "chaotic", None]}
    return of(FORECAST, phase=phases, layers={"type": "object", "additionalProperties": NUMBERS_LIST})


def _sweep() -> Schema:
    return of(
        SWEEP,
        settings={"type": "object", "additionalProperties": LIST.schema},
        cells={"type": "array", "items": MAPPING.schema},
    )


PARTS: Mapping[str, Callable[[], Schema]] = {
    "attempt": _attempt,
    "checked_finding": lambda: _finding(fails=FLAG),
    "column": lambda: A_COLUMN,
    "comparison": _comparison,
    "event": lambda: of(EVENT, Event),
    "finding": _finding,
    "gain": lambda: of(GAIN, BackwardGain),
    "remedy": lambda: of(REMEDY, optional=("lines", "name")),
    "run": _run,
    "segment": lambda: of(SEGMENT),
    "site": lambda: of(SITE, Site, role={"enum": [str(each) for each in Role]}),
    "theory": lambda: of(THEORY, stretches=_all_of("segment")),
}
"""What several schemas are made of, or one in several places."""

OF_A_REPORT = ("run", "column", "site", "event", "gain", "theory", "segment", "finding")
OF_A_TREATMENT = ("remedy", "comparison", "attempt", "finding")

SCHEMAS: Mapping[str, tuple[str, Callable[[], Schema], tuple[str, ...]]] = {
    "check": ("What undertow check --json prints", _check, ("checked_finding",)),
    "finding": ("One thing that a rule found in a run", _finding, ()),
    "forecast": ("What undertow predict --out forecast.json writes", _forecast, ()),
    "report": ("What undertow examine --json prints, and Report.save writes", _report, OF_A_REPORT),
    "sweep": ("What undertow sweep --out cells.json writes", _sweep, ()),
    "treatment": ("What undertow doctor --json prints, and Treatment.save writes", _treatment, OF_A_TREATMENT),
}
"""By name: a title, what makes it, and the parts it refers to."""

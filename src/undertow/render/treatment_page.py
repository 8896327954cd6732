"""Render what the doctor found, tried and confirmed as a page. It reads a treatment's JSON values and nothing else."""

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from undertow.formatting import probability
from undertow.render.blocks import Block, Snippet
from undertow.render.charts import curves_with_bands
from undertow.render.markup import escaped
from undertow.render.page import Article, Figure, Prose, Section, Table

SMALLEST = 1e-30
"""Losses and gradients below are drawn as gaps of a logarithmic axis."""

Treatment = Mapping[str, Any]


def article(treatment: Treatment) -> Article:
    """Return the page of a treatment.

    Args:
        treatment: as ``Treatment.to_dict`` makes it.

    Example:
        >>> told = {"headline": "Nothing that was tried helps.", "verdict": "nothing helps", "steps": 9, "seeds": 5}
        >>> article(told).title
        'Nothing that was tried helps.'
    """
    parts = (_helped, _wrong, _curves, _gradient, _tried, _notes)
    sections = [section for part in parts if (section := part(treatment)) is not None]
    subtitle = (
        f"{treatment.get('steps', 0):,} steps a trial, {treatment.get('seeds', 0)} fresh seeds, "
        f"{len(treatment.get('attempts', ()))} remedies and pairs looked at in {treatment.get('seconds', 0):.0f} s"
    )
    lead = escaped(str(treatment.get("summary", "")))
    meta = {"undertow": version("undertow")}
    return Article(treatment["headline"], subtitle, lead, sections, meta, answer=_paste(treatment), lively=False)


def _helped(treatment: Treatment) -> Section | None:
    rows = [_comparison(each) for each in treatment.get("comparisons", ()) if each["seeds"]]
    if not rows:
        return None
    text = (
        "Each row compares the training as it was with the same training and one change: same seeds, same data, same "
        "number of steps. These seeds were used for nothing before."
    )
    if treatment.get("measure") == "loss":
        text += " The training has no score: what stands here is the loss on batches kept aside, with its sign turned."
    text += " p: how likely chance alone makes as large a difference; under 0.05 it counts."
    columns = ["remedy", "score before", "score after", "difference", "95 % interval", "p", "verdict"]
    return Section("confirmed", "What was confirmed", [Prose(text), Table(columns, rows, stacked=True)])


def _comparison(each: Mapping[str, Any]) -> list[Any]:
    low, high = each["interval"]
    return [
        _names(each["remedies"]), *map(_short, (_mean(each["control"]), _mean(each["treated"]), each["effect"])),
        f"{low:+.3g} to {high:+.3g}" if None not in (low, high) else None,
        None if each["p"] is None else probability(each["p"]), str(each["verdict"]).lower(),
    ]  # fmt: skip


def _short(value: float | None) -> float | None:
    """Return a score with the three digits that a reader can use."""
    return None if value is None or math.isnan(value) else float(f"{value:.3g}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _names(remedies: Sequence[Mapping[str, Any]]) -> str:
    return " + ".join(f"{each['code']} {escaped(each['name'])}" for each in remedies) or "no remedy"


def _wrong(treatment: Treatment) -> Section | None:
    found = [each for each in treatment.get("findings", ()) if each["severity"] != "note"]
    if not found:
        return None
    rows = [[each["code"], each["severity"], escaped(each["message"])] for each in found]
    return Section("wrong", "What is wrong", [Table(["rule", "severity", "what"], rows, stacked=True)])


def _curves(treatment: Treatment) -> Section | None:
    curves = {name: each for name, each in treatment.get("curves", {}).items() if each}
    rows = {name: list(_band(each, treatment["steps"])) for name, each in curves.items()}
    if not any(rows.values()):
        return None
    values = [row[field] for each in rows.values() for row in each for field in ("low", "high") if row[field]]
    log = min(values, default=0.0) > 0 and max(values) > 20 * min(values)
    charts = [
        curves_with_bands(
            each, x="step", y="loss", low="low", high="high", colour="of", x_title="step", y_title="loss",
            band_title="lowest to highest of the seeds", log_y=log, title=name,
            y_domain=(min(values), max(values)) if min(values) < max(values) else None,
        )
        for name, each in rows.items() if each
    ]  # fmt: skip
    return Section("loss", "The loss", [Figure("losses", charts, "The loss on the way", _spread(treatment))])


def _spread(treatment: Treatment) -> str:
    return f"Mean over {treatment.get('seeds', 0)} seeds, and from the lowest to the highest of them."


def _band(losses: Sequence[Sequence[float | None]], steps: int) -> Iterator[dict[str, Any]]:
    """Yield mean, lowest and highest loss of the trials, point by point; a lost trial ends where it was lost."""
    longest = max(map(len, losses), default=0)
    for place in range(longest):
        known = [each[place] for each in losses if place < len(each) and each[place] is not None]
        numbers = [float(value) for value in known if value is not None]
        if numbers:
            step = round(1 + place * steps / longest)
            span = {"low": min(numbers), "high": max(numbers)}
            yield {"step": step, "of": "loss", "loss": sum(numbers) / len(numbers), **span}


def _gradient(treatment: Treatment) -> Section | None:
    ways = {name: way for name, way in treatment.get("gradient", {}).items() if len(way) > 1}
    rows = [
        {"place": place, "of": name, "norm": 10.0**decades if decades > math.log10(SMALLEST) else None}
        for name, way in ways.items()
        for place, (_, decades) in enumerate(way)
    ]
    if not rows:
        return None
    chart = curves_with_bands(
        rows, x="place", y="norm", colour="of", x_title="layers and joins, from the loss to the front",
        y_title="norm of the gradient, relative to the loss's side",
    )  # fmt: skip
    caption = "On a model that isn't trained yet. Flat is good: every layer gets a gradient of the same size."
    return Section(
        "gradient", "The gradient's way back", [Figure("ways", chart, "The gradient, layer by layer", caption)]
    )


def _tried(treatment: Treatment) -> Section | None:
    attempts = treatment.get("attempts", ())
    if not attempts:
        return None
    order = {"confirmed": 0, "raced": 1, "examined": 2, "prescribed": 3}
    ranked = sorted(attempts, key=lambda each: (order.get(each["stage"], 4), -min(each["scores"], default=-math.inf)))
    settled = any(each["stage"] == "confirmed" for each in attempts) and not treatment.get("running")
    rows = [[_names(each["remedies"]), each["stage"], _listed(each["scores"]), _why(each, settled)] for each in ranked]
    if known := [each for each in treatment.get("comparisons", ()) if each["control"]]:
        rows.insert(0, ["the training as it was", "beside these", _listed(known[0]["control"]), ""])
    text = "Scores of the race choose what is confirmed. The best of many is flattered by them: they are no result."
    table = Table(["remedy", "how far it came", "scores", "why no further"], rows, stacked=True)
    return Section("tried", "What was tried", [Prose(text), table])


def _listed(scores: Sequence[float]) -> str:
    return ", ".join(f"{score:.3g}" for score in scores)


_LEFT = {"raced": "others scored better", "examined": "others promised more", "prescribed": "others promised more"}


def _why(attempt: Mapping[str, Any], settled: bool) -> str:
    return escaped(attempt["error"]) or (_LEFT.get(attempt["stage"], "") if settled else "")


def _paste(treatment: Treatment) -> list[Block]:
    if not treatment.get("snippet"):
        return []
    text = "To paste behind the lines that make `model` and `optimizer`, unless a comment names another place:"
    blocks: list[Block] = [Prose(text), Snippet(treatment["snippet"])]
    if treatment.get("patch"):
        blocks.append(Prose(f"In your file:\n\n```diff\n{treatment['patch']}\n```"))
    return blocks


def _notes(treatment: Treatment) -> Section | None:
    notes = treatment.get("notes", ())
    return Section("notes", "To know", [Prose("\n".join(f"- {escaped(each)}" for each in notes))]) if notes else None

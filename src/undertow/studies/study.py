"""What a study is: experiments, the claims they are held to, a page. One function runs any of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from rich.console import Console

from undertow.lab import Dataset, load
from undertow.render.page import Article
from undertow.studies.environment import environment
from undertow.studies.keeping import JSON_NAME, PARQUET_NAME, check_writable, write_json, write_parquet
from undertow.studies.tasks import Task, run_all
from undertow.studies.wording import unmarked

Results = Mapping[str, Any]
Holds = Literal["yes", "partly", "no"]
Judged = tuple[str, Holds]


@dataclass(frozen=True)
class Scale:
    """How much of a study to do.

    Attributes:
        seed: where all randomness starts.
        quick: a taste, in under a minute, in place of the whole.

    Example:
        >>> Scale().quick
        False
    """

    seed: int = 0
    quick: bool = False


@dataclass(frozen=True)
class Claim:
    """Something that a paper says, in our words, and the rule that judges it from the results in hand.

    Attributes:
        text: the claim.
        rule: results -> what was measured, in words, and whether the claim holds.
    """

    text: str
    rule: Callable[[Results], Judged]


class Runnable(Protocol):
    """What `undertow study` can run; a `Study`, as a rule."""

    @property
    def name(self) -> str:
        """As the command line calls it."""

    @property
    def summary(self) -> str:
        """What it is about, in a line."""

    @property
    def stopped(self) -> str:
        """What has become of a run that is stopped half-way, to end a sentence with."""

    def run(self, out: Path, scale: Scale, data: str = "mnist", console: Console | None = None) -> Path:
        """Run it, write it down, and say which file the page is."""


@dataclass(frozen=True)
class Study:
    """An experiment from the literature, repeated.

    Attributes:
        name: as the command line calls it.
        summary: what it is about, in a line.
        plan: a scale and the data -> experiments, longest first.
        assemble: what they found, by name, and the scale -> results.
        claims: what the results are held to.
        article: results, claims judged -> the page.
        rows: results -> a table of single networks or measurements, all rows with the same keys.
        stopped: what has become of a run that is stopped half-way.
    """

    name: str
    summary: str
    plan: Callable[[Scale, Dataset], Sequence[Task]]
    assemble: Callable[[Mapping[str, Any], Scale], dict[str, Any]]
    claims: Sequence[Claim]
    article: Callable[[Results], Article]
    rows: Callable[[Results], Sequence[Mapping[str, Any]]]
    stopped: str = "nothing was written"

    def run(self, out: Path, scale: Scale, data: str = "mnist", console: Console | None = None) -> Path:
        """See the function `run`."""
        return run(self, out, scale, data, console)


def run(study: Study, out: Path, scale: Scale, data: str = "mnist", console: Console | None = None) -> Path:
    """Run a study and write it down.

    Args:
        study: which; `undertow.studies.registry.named` finds one by name.
        out: folder for ``index.html``, ``results.json``, ``results.parquet`` (where pyarrow is installed) and
            ``figures/`` as PNG and SVG; it is made if it isn't there.
        scale: how much to do, and from which seed.
        data: "mnist", "digits", or a path to IDX files.
        console: where progress is shown.

    Returns:
        The page.

    Raises:
        OSError: ``out`` can't be written to.
        undertow.lab.DataError: the data can't be had; the message says why, and how to give a path.
    """
    loaded = load(data)  # before anything is written, and once before all processes do
    check_writable(out)
    console = console or Console()
    results = measure(study, scale, data, loaded, console)
    write_json(results, out / JSON_NAME)
    if not write_parquet(study.rows(results), out / PARQUET_NAME):
        console.print(f"no {PARQUET_NAME}: pyarrow is not installed (pip install 'undertow\\[tables]')", soft_wrap=True)
    with console.status("drawing the figures"):
        return study.article(results).write(out / "index.html", figures_in=out / "figures")


def measure(study: Study, scale: Scale, data_name: str, data: Dataset, console: Console) -> dict[str, Any]:
    """Run all experiments of a study and judge its claims by them; what `results.json` holds, as NumPy arrays."""
    found = run_all(study.plan(scale, data), data_name, console)
    results = {
        "study": study.name,
        "schema": 1,
        "quick": scale.quick,
        "seed": scale.seed,
        "data": {"name": unmarked(data.name), "sha256": data.sha256, "image_shape": list(data.image_shape)},
        **study.assemble(found, scale),
        "environment": environment(),
    }
    return {**results, "claims": judged(study.claims, results)}


def judged(claims: Sequence[Claim], results: Results) -> list[dict[str, Any]]:
    """All claims in their order: id, text, measured, holds (yes, partly or no).

    Example:
        >>> judged([Claim("It rains.", lambda found: (found["sky"], "no"))], {"sky": "blue"})
        [{'id': 1, 'text': 'It rains.', 'measured': 'blue', 'holds': 'no'}]
    """
    return [
        {"id": i, "text": claim.text, "measured": measured, "holds": holds}
        for i, claim in enumerate(claims, 1)
        for measured, holds in [claim.rule(results)]
    ]


def three(yes: bool, partly: bool) -> Holds:
    """A verdict from two conditions, the stricter first.

    Example:
        >>> three(False, True)
        'partly'
    """
    return "yes" if yes else "partly" if partly else "no"

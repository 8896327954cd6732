"""Fill HTML templates so that nothing in the data can become markup or script."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from undertow import links
from undertow.printable import printable
from undertow.render.terms import texts_of, used


def environment(
    filters: Mapping[str, Callable[..., Any]] | None = None, tests: Mapping[str, Callable[..., Any]] | None = None
) -> Environment:
    """Return our templates: everything in them is escaped, and what is missing is an error."""
    loader = PackageLoader("undertow.render")
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value, lines=True) if type(value) is str else value,
    )
    made.filters |= dict(filters or {})
    made.tests |= dict(tests or {})
    made.globals["documentation"] = links.documentation
    return made


def source(name: str) -> str:
    """Return a file of ours in ``templates`` as text."""
    return (resources.files("undertow.render") / "templates" / name).read_text("utf-8")


def scripted(sources: Iterable[str]) -> str:
    """Join scripts into one that leaves no name behind on the page."""
    together = "\n".join(sources)
    return f'"use strict";\n(() => {{\n{together}}})();\n'


def inert(value: Any) -> Markup:
    """Return JSON for a script element: no ``<`` in it, so that nothing in the data can close it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    shown = _MARKS.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)
    return Markup(shown.replace("<", "\\u003c"))  # noqa: S704  escaped here


_MARKS = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls that JSON leaves, marks that change a name's direction, half surrogate pairs, which no file takes."""


def policy(scripts: Iterable[str], live: bool = False) -> str:
    """Return a Content-Security-Policy that allows these scripts only, and nothing from elsewhere.

    A live page may ask the server that it came from, and no other.
    """
    sums = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{s}'" for s in sums)
    asks = "; connect-src 'self'; form-action 'none'" if live else ""
    kept = "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"
    return f"default-src 'none'; script-src {allowed}; {kept}{asks}"


DRAWING = (
    "address", "copy", "explore/numbers", "explore/drawing", "run/series", "run/clock", "run/plots", "run/common",
    "run/words",
)  # fmt: skip
BOARD = (*DRAWING, "run/board", "run/zoom", "run/causes")


def filled(template: str, title: str, given: Mapping[str, Any], scripts: Sequence[str], live: bool = False) -> str:
    """Return a page.

    Args:
        template: its name in ``templates``.
        title: what the page is called.
        given: the data on it, JSON values.
        scripts: their names in ``templates``, without the suffix.
        live: whether the page may ask its server.
    """
    script = scripted(source(f"{name}.js") for name in scripts)
    return (
        _environment()
        .get_template(template)
        .render(
            title=printable(title),
            given=given,
            live=live,
            terms=used([source(template), *texts_of(given)]),
            inert=inert,
            css=Markup(source("page.css") + source("run/run.css")),  # noqa: S704  our own files
            script=Markup(script),  # noqa: S704  our own files
            policy=policy([script], live),
        )
    )


@cache
def _environment() -> Environment:
    return environment()

"""Fill the templates of pages on runs.

The data on a page is plain values for JSON in one inert element; scripts in ``templates/run`` draw them. Every
name that comes from a run is put on the page as text.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from undertow.render.templating import environment, inert, policy, scripted, source

DRAWING = ("explore/numbers", "explore/drawing", "run/series", "run/plots", "run/common")
BOARD = (*DRAWING, "run/board", "run/causes")


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
            title=title,
            given=given,
            live=live,
            inert=inert,
            css=Markup(source("page.css") + source("run/run.css")),  # noqa: S704  our own files
            script=Markup(script),  # noqa: S704  our own files
            policy=policy([script], live),
        )
    )


@cache
def _environment() -> Environment:
    return environment()

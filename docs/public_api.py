"""Write docs/public-api.md: every public name with its parameters, every command with its options.

``make docs`` runs it; tests/test_public_api.py holds the page to what the package has.
"""

import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

PAGE = Path(__file__).with_name("public-api.md")
THEORY = (
    "chain", "bounds", "explosion", "logproduct", "drawn", "product", "singular", "meanfield", "propagation",
    "isometry", "residual", "simulation",
)  # fmt: skip
MODULES = (
    "undertow", "undertow.lab", *(f"undertow.theory.{name}" for name in THEORY), "undertow.record", "undertow.store",
    "undertow.diagnosis", "undertow.rules", "undertow.remedies", "undertow.plugins", "undertow.testing",
    "undertow.printable", "undertow.schemas", "undertow.sweeping", "undertow.watching",
)  # fmt: skip
BEGINNING = """# The public surface

Made from the source by `make docs`. What stands here keeps its name and its parameters; a name that changes works for
one more release, with a `DeprecationWarning`. Every other module and name is internal and may change without notice.
"""


def page() -> str:
    """Return the page."""
    modules = [line for name in MODULES for line in _module(import_module(name))]
    return "\n".join([BEGINNING, *modules, "## Commands", "", *_commands()])


def public_names(module: ModuleType) -> list[str]:
    """Return the names that a module offers: those of ``__all__``, else what it defines without an underscore."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(listed)
    own = (name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__)
    return sorted(name for name in own if not name.startswith("_"))


def _module(module: ModuleType) -> Iterator[str]:
    yield from (f"## {module.__name__}", "", _first_line(module), "")
    for name in public_names(module):
        yield f"- `{name}{_parameters(getattr(module, name))}`: {_first_line(getattr(module, name))}"
        yield from _members(getattr(module, name))
    yield ""


def _first_line(value: Any) -> str:
    # A constant or an alias has the docstring of its type, which says nothing about it.
    described = inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value)
    text = inspect.getdoc(value) if described else None
    return " ".join(text.partition("\n\n")[0].split()) if text else "a constant"


def _parameters(value: Any) -> str:
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return ""
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:  # some built-in bases have no signature
        return ""
    return f"({', '.join(_parameter(each) for each in parameters)})"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    optional = "" if parameter.default is parameter.empty else "?"
    return f"{stars}{parameter.name}{optional}"


def _members(value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        return
    # Only what undertow's own classes define: a StrEnum has a hundred methods of str.
    own = {name for base in value.__mro__ if base.__module__.startswith("undertow") for name in vars(base)}
    shown = sorted(name for name in own if not name.startswith("_"))
    if shown:
        yield f"  - has {', '.join(f'`{name}`' for name in shown)}"


def _commands() -> Iterator[str]:
    from undertow.cli import app

    group = typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        yield from (f"### undertow {name}", "", " ".join((command.help or "").split()), "")
        for each in command.params:
            names = [*each.opts, *each.secondary_opts] if each.param_type_name == "option" else [each.name.upper()]
            yield f"- `{', '.join(names)}`: {getattr(each, 'help', None) or ''}".rstrip(": ")
        yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")

"""``undertow schema``: print the JSON schema of an output."""

import json
from typing import Annotated

import typer

EXAMPLE = "undertow schema report > report.schema.json"


def _names() -> list[str]:
    from undertow.schemas import SCHEMAS

    return list(SCHEMAS)


def schema(
    name: Annotated[
        str | None, typer.Argument(autocompletion=_names, help="Which output; without a name all are listed.")
    ] = None,
) -> None:
    """Print the JSON schema (draft 2020-12) of what another command prints or writes as JSON."""
    from undertow.schemas import SCHEMAS
    from undertow.schemas import schema as of

    if name is None:
        for each, (title, _, _) in SCHEMAS.items():
            typer.echo(f"{each:10} {title}")
        return
    typer.echo(json.dumps(of(name), indent=2))

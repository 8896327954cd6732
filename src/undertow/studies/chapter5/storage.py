"""results.json: written whole or not at all, read back only if it is what its schema says."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from undertow.extras import needed
from undertow.files import write_whole
from undertow.studies.io import JSON_NAME, read_json

SCHEMA_NAME = "results.schema.json"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of results.json.

    Example:
        >>> schema()["title"]
        'Results of undertow chapter5'
    """
    loaded: dict[str, Any] = json.loads(files(__package__).joinpath(SCHEMA_NAME).read_text("utf-8"))
    return loaded


def write_schema(_results: Mapping[str, Any], folder: Path) -> None:
    """Write the schema beside results.json."""
    write_whole(folder / SCHEMA_NAME, json.dumps(schema(), indent=2).encode())


def read(folder: Path) -> dict[str, Any]:
    """Read the results.json that a run of the study wrote.

    Raises:
        FileNotFoundError: there is no results.json.
        ValueError: it is not JSON, or not what the schema says; the message names the first place that isn't.
    """
    path = folder / JSON_NAME
    if not path.is_file():
        raise FileNotFoundError(f"no {JSON_NAME} in {folder}: give the folder that `undertow chapter5 --out` wrote")
    results: dict[str, Any] = read_json(path)
    jsonschema = needed("jsonschema", "studies", "checking results")
    wrong = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema()).iter_errors(results))
    if wrong:
        raise ValueError(
            f"{path} is not a result of `undertow chapter5`: at {wrong.json_path}, {_short(wrong.message)}"
        )
    return results


def _short(message: str) -> str:
    return message if len(message) < 200 else message[:120] + " ... " + message[-60:]

"""The studies, each run once for all tests, on scikit-learn's digits, small enough for seconds."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saying import Said, said
from undertow.studies.registry import named

Command = Callable[..., Said]
Once = Callable[[str, Callable[[Path], object]], Path]

LESS: dict[str, dict[str, int]] = {
    "glorot2010": {"images": 4_000, "shapes": 8_000, "pilot": 500, "shapes_pilot": 500, "held_out": 500},
    "remedies": {"updates": 20, "judged": 250},
    "sutskever2013": {"updates": 120, "lowered_for": 20, "scale_updates": 60, "images": 250},
}
"""Amounts below those of --quick that show as much."""

COARSE: dict[str, float] = {
    "undertow.render.figures.PNG_SCALE": 0.25,
    "undertow.studies.trainability.expected.POINTS": 20,
}
"""Pixels and points that are there for eyes: no test looks at them."""


@pytest.fixture(scope="module", autouse=True)
def _coarse() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as coarse:
        for place, value in COARSE.items():
            coarse.setattr(place, value)
        yield


@pytest.fixture(scope="session")
def undertow() -> Command:
    return said


@pytest.fixture(scope="session")
def studied(once: Once) -> Callable[[str], Path]:
    """The folder that a quick run of a study wrote; it runs when it is first asked for, in that process."""

    def folder_of(name: str) -> Path:
        study = named(name)
        config = replace(study.config(True), **LESS.get(name, {}))
        how: Any = {"quick": True, "data": "digits", "config": config, "processes": 0}
        return once(f"study-{name}", lambda out: study.run(out, **how))

    return folder_of


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, studied: Callable[[str], Path]) -> Path:
    """The folder of the study that a folder of tests is named after."""
    return studied(request.path.parent.name)


@pytest.fixture(scope="module")
def results(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text("utf-8"))

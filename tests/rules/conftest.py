from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
import torch

from rules.trainings import FAULTY, HEALTHY
from undertow.record import Finding, Run
from undertow.rules import over_time
from undertow.store import open_run


@pytest.fixture(scope="session")
def recorded(once: Callable[[str, Callable[[Path], object]], Path]) -> Callable[[str], tuple[Run, Path]]:
    """A training of `HEALTHY` or `FAULTY` by name, made when it is first asked for: the Run and its file."""

    def train(name: str, folder: Path) -> None:
        folder.mkdir()
        torch.manual_seed(0)
        {**HEALTHY, **FAULTY}[name](folder)

    @cache
    def of(name: str) -> tuple[Run, Path]:
        file = once(f"run-{name}", partial(train, name)) / "run.undertow"
        return open_run(file), file

    return of


@pytest.fixture(scope="session")
def found(recorded: Callable[[str], tuple[Run, Path]]) -> Callable[[str], dict[str, Finding]]:
    """Findings on a training by code, of which each is reported once; worked out once for all tests."""

    @cache
    def of(name: str) -> dict[str, Finding]:
        findings = over_time(recorded(name)[0])
        codes = [finding.code for finding in findings]
        assert len(set(codes)) == len(codes), codes
        return dict(zip(codes, findings, strict=True))

    return of

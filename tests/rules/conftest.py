from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from rules.trainings import FAULTY, HEALTHY
from undertow.record import Finding, Run
from undertow.rules import over_time


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Run, Path]]:
    """A training of `HEALTHY` or `FAULTY` by name, made when it is first asked for: the Run and its file."""
    known: dict[str, tuple[Run, Path]] = {}

    def of(name: str) -> tuple[Run, Path]:
        if name not in known:
            folder = tmp_path_factory.mktemp("run")
            torch.manual_seed(0)
            known[name] = ({**HEALTHY, **FAULTY}[name](folder), folder / "run.undertow")
        return known[name]

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

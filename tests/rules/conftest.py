from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
import torch

from rules.fitting import Examples
from rules.trainings import FAULTY, HEALTHY
from undertow.record import Finding, Run
from undertow.rules import over_time
from undertow.store import open_run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the tests of `rules.fitting` the examples of the file that imports them."""
    examples = getattr(metafunc.module, "EXAMPLES", None)
    if not isinstance(examples, Examples):
        return
    of = {
        "firing": examples.all,
        "healthy": examples.all,
        "firing_watched": examples.some,
        "healthy_watched": examples.some,
    }
    for name in set(of) & set(metafunc.fixturenames):
        cases = of[name](int(name.startswith("healthy")))
        metafunc.parametrize(name, cases, ids=[f"{code}-{build.__name__}" for code, build in cases])


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

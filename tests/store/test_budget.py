"""A file may not take far more memory than its bytes can stand for."""

import numpy as np
import pytest

from undertow.record import Role, Run, Site
from undertow.store import StoreError, open_run, save_run


def test_what_a_file_claims_to_hold_is_bounded_by_its_bytes(tmp_path, monkeypatch):
    """10,000 layers, of which nothing is measured, through 65,536 steps: 2.6 GB a column in 1 MB."""
    sites = tuple(Site(i, f"layers.{i}", "addmm", Role.WEIGHT) for i in range(10_000))
    columns = {"grad_output": np.full((100, 10_000), np.nan, np.float32)}
    path = tmp_path / "run.undertow"
    save_run(Run({}, sites, (), columns, steps={"step": np.arange(100.0)}), path)
    run = open_run(path)
    monkeypatch.setattr("undertow.store.budget.FREE_BYTES", 1 << 20)
    monkeypatch.setattr("undertow.store.budget.MOST_TIMES", 1)
    with pytest.raises(StoreError, match=r"says it holds .* GB of numbers in .* MB, which no undertow writes"):
        open_run(path)
    monkeypatch.setenv("UNDERTOW_MEMORY", "10000000")
    assert open_run(path) == run

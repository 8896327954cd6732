"""The maps are those of the store, which is not filled twice."""

import numpy as np
import pytest
from rich.console import Console

from undertow.lab import load
from undertow.studies.study import Job
from undertow.studies.trainability import STUDY, config
from undertow.sweeping import open_sweep


def test_fields_are_what_the_store_holds(folder, maps, results):
    kept = open_sweep(folder / "cells.sweep")
    assert results["networks"] == len(kept.rows()) == config(quick=True).networks
    for name, field in maps.items():
        pivot = kept.pivot(
            "depth", "weight_var", "train_accuracy", activation=name, bias_var=0.05, depth=field["depth"]
        )
        np.testing.assert_allclose(np.mean(field["train_accuracy"], -1), pivot.values, rtol=1e-6)
    rows = kept.rows(activation="tanh", depth=32, weight_var=3.0)
    assert rows[0]["curve"] == pytest.approx(maps["tanh"]["curve"][-1][3][0])


def test_a_second_run_trains_nothing(folder):
    before = (folder / "cells.sweep").read_bytes()
    stored = open_sweep(folder / "cells.sweep").rows()
    again = Job(config(quick=True), 0, load("digits"), "digits", folder, Console(quiet=True), processes=0)
    STUDY.results(again, quick=True)
    assert open_sweep(folder / "cells.sweep").rows() == stored
    assert len((folder / "cells.sweep").read_bytes()) == len(before)

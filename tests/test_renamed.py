"""Names that have changed work for a release, with a warning that says the new one."""

import importlib

import pytest

OLD = {
    "undertow.record": {"Reading": "SiteReading"},
    "undertow.theory.product": {"Factor": "MatrixFactor"},
    "undertow.lab": {"Rising": "MomentumSchedule", "Split": "DataSplit", "History": "TrainingHistory"},
    "undertow.lab.layers": {"Layer": "LayerParameters"},
    "undertow.lab.optimizers": {"Rising": "MomentumSchedule", "Gradient": "LayerGradient"},
}


@pytest.mark.parametrize(("module", "old", "new"), [(m, o, n) for m, names in OLD.items() for o, n in names.items()])
def test_an_old_name_is_the_new_one_with_a_warning(module, old, new):
    found = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=f"{module}.{old} is called {module}.{new} now"):
        assert getattr(found, old) is getattr(found, new)


def test_a_name_that_never_was_is_an_error():
    with pytest.raises(AttributeError, match=r"has no attribute 'Falling'"):
        importlib.import_module("undertow.lab").Falling  # noqa: B018

"""The studies that there are."""

import pytest

from undertow.studies.registry import STUDIES, named


@pytest.mark.parametrize("name", STUDIES)
def test_every_registered_study_is_one(name):
    study = named(name)
    assert study.name == name
    assert study.summary
    assert len(study.claims) >= 5
    assert study.config(True) != study.config(False)

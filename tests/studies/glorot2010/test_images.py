"""Images to train on, apart from those to judge by."""

from dataclasses import replace

import pytest
import torch

from undertow.lab import digits
from undertow.studies.glorot2010.config import CONFIGURATIONS, SHAPES, config
from undertow.studies.glorot2010.images import images
from undertow.studies.glorot2010.plan import assemble, plan


def test_shapes_to_train_on_are_not_those_to_judge_by():
    stream = images(SHAPES, digits(), 0, held_out=50)
    x, _ = stream.take(50)
    assert not any((row == other).all() for row in x for other in (*stream.validation.x, *stream.test.x))
    assert torch.equal(images(SHAPES, digits(), 0, held_out=50).take(50)[0], x)


@pytest.mark.parametrize("name", ["digits", "my digits: start", SHAPES, "start", "a: tanh"])
def test_data_of_any_name_are_told_from_our_shapes(name):
    data, quick = replace(digits(), name=name), config(quick=True)
    found = {task.name: task.name for task in plan(quick, 0, data)}
    assert len(found) == len(plan(quick, 0, data))
    by_source = assemble(found, quick, 0)["training"]
    assert len(by_source) == 2
    assert all(configurations.keys() == CONFIGURATIONS.keys() for configurations in by_source.values())
    assert not any("*" in source or ":" in source for source in by_source)

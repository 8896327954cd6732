"""The endless images of shapes are what they say they are."""

from collections import Counter

import numpy as np
import pytest
import torch

from undertow.lab.shapes import CLASSES, LEAST_CONTRAST, SIDE, shapeset


@pytest.fixture(scope="module")
def drawn():
    return shapeset(3_000, seed=7)


def levels(image: torch.Tensor) -> Counter[float]:
    return Counter(image.tolist())


def test_as_many_grey_levels_as_there_are_shapes_and_a_ground(drawn):
    for image, y in zip(drawn.x[:500], drawn.y[:500].tolist(), strict=True):
        found = levels(image)
        assert len(found) == 1 + len(CLASSES[y])
        assert np.diff(sorted(found)).min() > LEAST_CONTRAST - 1e-5
        assert 0 <= min(found) <= max(found) < 1


def test_all_nine_classes_are_equally_likely(drawn):
    counts = drawn.y.bincount(minlength=len(CLASSES)).numpy()
    expected = len(drawn) / len(CLASSES)
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 26.1  # the 99.9th percentile with eight degrees of freedom


def test_a_shape_lies_on_the_canvas_whole(drawn):
    for image, y in zip(drawn.x.reshape(-1, SIDE, SIDE), drawn.y.tolist(), strict=True):
        border = torch.cat([image[0], image[-1], image[:, 0], image[:, -1]])
        if len(CLASSES[y]) == 1:
            assert border.unique().numel() == 1, "only the ground reaches the border"


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_kinds_differ_in_how_they_fill_their_box(drawn, kind):
    """A triangle fills half the box around it or less as it lies, a circle pi/4, an upright square all of it."""
    images = drawn.x[drawn.y == kind].reshape(-1, SIDE, SIDE).numpy()
    filled = []
    for image in images:
        there = image != image[0, 0]
        rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
        filled.append(there.sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1))
    low, high = [(0.3, 0.55), (0.5, 1.0), (0.55, 0.85)][kind]
    assert low < np.median(filled) < high


def test_at_least_half_of_the_smaller_shape_can_be_seen(drawn):
    for image, y in zip(drawn.x, drawn.y.tolist(), strict=True):
        if len(CLASSES[y]) == 2:
            _ground, *shapes = [count for _, count in levels(image).most_common()]
            assert min(shapes) >= 10  # half of what 4.5 and 2.5 pixels of half axes cover is more than that


def test_a_seed_is_a_stream_and_a_generator_goes_on():
    one, again = shapeset(300, seed=1), shapeset(300, seed=1)
    assert torch.equal(one.x, again.x)
    assert torch.equal(one.y, again.y)
    generator = np.random.default_rng(1)
    first, second = shapeset(150, generator), shapeset(150, generator)
    assert not torch.equal(first.x, second.x)


def test_no_images_and_a_number_that_makes_no_sense():
    assert shapeset(0).x.shape == (0, SIDE**2)
    with pytest.raises(ValueError, match="n = -1: draw no image or some"):
        shapeset(-1)

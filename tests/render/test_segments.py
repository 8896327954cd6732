import math

import pytest

from undertow.render.segments import segments


@pytest.mark.parametrize("made", ["vanishing", "healthy", "thousand_report"])
@pytest.mark.parametrize("most", [1, 3, 40, 10_000])
def test_stretches_make_up_the_whole_way(made, most, request):
    made = request.getfixturevalue(made)
    gradient_path = made.diagnosis.gradient_path
    found = segments(made.diagnosis, most)
    assert 1 <= len(found) <= most
    inside = [gain for segment in found for gain in segment.gains]
    assert [gain.start for gain in inside[1:]] == [gain.end for gain in inside[:-1]]
    assert (inside[0].start, inside[-1].end) == (gradient_path.waypoints[0], gradient_path.waypoints[-1])
    for segment in found:
        assert math.prod(segment.factors.values()) == pytest.approx(segment.gain, rel=1e-9)

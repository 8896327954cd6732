import pytest

from undertow.diagnosis import Diagnosis
from undertow.record import Run
from undertow.render import report_picture


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="fewer than two layers"):
        report_picture.svg(Diagnosis(Run({}, ())))

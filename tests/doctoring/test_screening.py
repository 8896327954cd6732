"""What is prescribed after a look at a fresh model."""

from doctoring.lines import lines
from undertow.doctoring.screening import look
from undertow.remedies import prescribe


def test_prescriptions_answer_findings():
    remedies = prescribe(look(lines(3000.0)).diagnosis)
    assert [each.urgency for each in remedies] == sorted([each.urgency for each in remedies], reverse=True)
    assert remedies[0].code == "UR101"
    assert remedies[0].settings["factor"] < 1

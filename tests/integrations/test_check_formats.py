"""JUnit's XML is held to the schema that its readers hold it to."""

from pathlib import Path

import pytest

from undertow.record import Finding, Severity
from undertow.render.check_formats import Checked, as_junit

xmlschema = pytest.importorskip("xmlschema")

SCHEMA = Path(__file__).parents[1] / "data" / "junit-10.xsd"
FINDINGS = [
    Finding("UT101", "vanishing", Severity.ERROR, (), "fc\x1b[31m<&]]>", "It \x00 fades \ud800.", {"a": float("nan")}),
    Finding("UT602", "bias absorbed", Severity.NOTE, (), "", "A & B", advice="<b>", snippet="x = '\u202e'"),
]


@pytest.mark.parametrize("findings", [[], FINDINGS[1:], FINDINGS], ids=["none", "a note", "hostile"])
@pytest.mark.parametrize("least", Severity)
def test_junit_is_valid(findings, least):
    written = as_junit(Checked("my nets/ü\x1b<&.py:build", findings, least))
    schema = xmlschema.XMLSchema(str(SCHEMA))
    schema.validate(written)
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        schema.validate(written.replace("<testcase", "<testcases", 1).replace("</testcase>", "</testcases>", 1))

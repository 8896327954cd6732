"""Write what ``undertow check`` found as programs read it: JSON, GitHub's annotations, SARIF 2.1.0, JUnit's XML."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from undertow.jsonable import jsonable
from undertow.printable import printable
from undertow.record import Finding, Severity
from undertow.render.labels import near
from undertow.rules import RULES
from undertow.rules.explained import sections

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ANNOTATIONS = {Severity.NOTE: "notice", Severity.WARNING: "warning", Severity.ERROR: "error"}


@dataclass(frozen=True)
class Checked:
    """Hold what a check comes to.

    Attributes:
        target: what was checked, as the user named it.
        findings: those that are neither silenced nor left out, the worst first.
        fail_on: the least severity that fails.
        silenced: how many the project silences.

    Example:
        >>> Checked("net.py:build", [], Severity.WARNING).failing
        []
    """

    target: str
    findings: Sequence[Finding]
    fail_on: Severity
    silenced: int = 0

    @property
    def failing(self) -> list[Finding]:
        """The findings that are severe enough to fail."""
        return [each for each in self.findings if each.severity.rank >= self.fail_on.rank]


def as_json(checked: Checked) -> str:
    """Return one JSON object: what was checked, whether it failed, and every finding.

    Example:
        >>> json.loads(as_json(Checked("net.py:build", [], Severity.WARNING)))["failed"]
        False
    """
    failing = checked.failing
    listed = [{**each.to_dict(), "fails": each in failing} for each in checked.findings]
    whole: dict[str, object] = {"format": "undertow check 1", "undertow": version("undertow"), "target": checked.target}
    whole |= {"fail_on": str(checked.fail_on), "failed": bool(failing), "silenced": checked.silenced}
    return json.dumps(jsonable({**whole, "findings": listed}, infinite=True), allow_nan=False)


def as_github(checked: Checked) -> str:
    """Return one workflow command for each finding, which GitHub shows beside the line of code.

    Example:
        >>> print(as_github(Checked("net.py:build", [Finding("UT101", "v", Severity.ERROR, (), "", "50 % lost")],
        ...                         Severity.ERROR)))
        ::error file=net.py,title=UT101 v::50 %25 lost
    """
    return "\n".join(_annotation(each, checked.target) for each in checked.findings)


def _annotation(finding: Finding, target: str) -> str:
    file, line = _place(finding, target)
    fields = {"file": file, "line": line and str(line), "title": f"{finding.code} {finding.name}"}
    shown = ",".join(f"{name}={_escaped(value, ',:')}" for name, value in fields.items() if value)
    return f"::{ANNOTATIONS[finding.severity]} {shown}::{_escaped(described(finding))}"


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(sign):02X}" if sign in f"%\r\n{more}" else sign for sign in text)


def as_sarif(checked: Checked) -> str:
    """Return a SARIF 2.1.0 log with one run, which code hosts and editors read.

    Example:
        >>> log = json.loads(as_sarif(Checked("net.py:build", [], Severity.WARNING)))
        >>> log["version"], log["runs"][0]["tool"]["driver"]["name"], log["runs"][0]["results"]
        ('2.1.0', 'undertow', [])
    """
    codes = list(dict.fromkeys(each.code for each in checked.findings))
    driver = {"name": "undertow", "version": version("undertow"), "rules": [_rule(code) for code in codes]}
    results = [_result(each, codes, checked.target) for each in checked.findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, allow_nan=False)


def _rule(code: str) -> dict[str, Any]:
    if code not in RULES:  # of a plugin that was there when the report was written
        return {"id": code}
    rule = RULES[code]
    parts = sections(rule)
    help_text = "\n\n".join(f"{name}: {text}" for name, text in parts.items() if name)
    about = {"shortDescription": parts[""], "fullDescription": parts["What"], "help": help_text}
    return {"id": code, "name": rule.name, **{name: {"text": text} for name, text in about.items()}}


def _result(finding: Finding, codes: Sequence[str], target: str) -> dict[str, Any]:
    file, line = _place(finding, target)
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(file)}}}
    if line:
        location["physicalLocation"]["region"] = {"startLine": line}
    if finding.where:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(finding.where), "kind": "module"}]
    numbers = jsonable(dict(finding.evidence), infinite=True)
    return {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": str(finding.severity),
        "message": {"text": printable(described(finding), lines=True)},
        "locations": [location],
        "properties": {"evidence": numbers, "threshold": finding.threshold, "confidence": finding.confidence},
    }


def _uri(file: str) -> str:
    """Return a path as a URI: relative ones as references, in which every sign that means something is escaped.

    Example:
        >>> _uri("my nets/50%.py"), _uri("net.py")
        ('my%20nets/50%25.py', 'net.py')
    """
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="backslashreplace")


def as_junit(checked: Checked) -> str:
    """Return a JUnit report: a test case for each finding, which fails if the finding does; one that passes if none.

    Example:
        >>> print(as_junit(Checked("net.py:build", [], Severity.WARNING)))
        <?xml version='1.0' encoding='utf-8'?>
        <testsuites><testsuite name="undertow" tests="1" failures="0" errors="0" skipped="0"><testcase ...
    """
    failing, cases = checked.failing, max(len(checked.findings), 1)
    counts = {"tests": cases, "failures": len(failing), "errors": 0, "skipped": 0}
    suites = ElementTree.Element("testsuites")
    shown = {name: str(count) for name, count in counts.items()}
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "undertow", **shown})
    for each in checked.findings:
        place = {"name": f"{each.code} {each.name}", "classname": checked.target}
        case = ElementTree.SubElement(suite, "testcase", _visible(place))
        kind = "failure" if each in failing else "system-out"
        about = {"type": str(each.severity), "message": each.message} if each in failing else {}
        ElementTree.SubElement(case, kind, _visible(about)).text = printable(described(each), lines=True)
    if not checked.findings:
        ElementTree.SubElement(suite, "testcase", _visible({"name": "no finding", "classname": checked.target}))
    return ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True).decode()


def _visible(attributes: Mapping[str, str]) -> dict[str, str]:
    return {name: printable(text, lines=True) for name, text in attributes.items()}


def described(finding: Finding) -> str:
    """Return a finding's sentence, its advice and the lines to type.

    Example:
        >>> described(Finding("UT101", "v", Severity.ERROR, (), "", "It fades.", advice="Use He.", snippet="x = 1"))
        'It fades.\\n\\nUse He.\\n\\n    x = 1'
    """
    code = "\n".join(f"    {line}" for line in finding.snippet.splitlines())
    return "\n\n".join(filter(None, (f"{finding.span}{finding.message}", finding.advice, code)))


def _place(finding: Finding, target: str) -> tuple[str, int]:
    """Return the file and line that a finding is shown at; 0 where the line isn't known."""
    file, colon, line = near(finding.source).rpartition(":")
    if colon and line.isdecimal():
        return file, int(line)
    return target.rpartition(":")[0] or target, 0


FORMATS: Mapping[str, Callable[[Checked], str]] = {
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
    "junit": as_junit,
}
"""What is not text, by the name that ``--format`` takes."""

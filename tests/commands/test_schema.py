"""`undertow schema`: the schemas, by name."""

import json

from undertow.schemas import SCHEMAS, schema


def test_the_command_prints_it(run, fails):
    assert json.loads(run("schema", "report").stdout) == schema("report")
    assert [line.split()[0] for line in run("schema").stdout.splitlines()] == list(SCHEMAS)
    assert "there is no schema 'reprot'; there are: check, " in fails("schema", "reprot")

"""The protocol's own client asks a real server, a process of its own, over standard input and output."""

import asyncio
import os
import shutil
import sys

import jsonschema
import pytest

from sample_models import NET
from undertow.agent_tools import Tools
from undertow.integrations.mcp import ASKED
from undertow.rules import RULES

mcp = pytest.importorskip("mcp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, runs, vanishing):
    inside = tmp_path_factory.mktemp("served") / "inside"
    shutil.copytree(runs, inside)
    vanishing.save(inside / "report.json")
    (inside / "net.py").write_text("print('noise on standard output')\n" + NET.replace("\n    ", "\n"))
    (inside.parent / "secret.json").write_text((inside / "report.json").read_text())
    return inside


def ask(folder, *questions, flags=(), mode="auto"):
    """What the server answers to (name, arguments), one after the other; without any, the tools that it has."""

    async def asked():
        words = ["-m", "undertow", "mcp", str(folder), *flags]
        server = mcp.stdio_client(mcp.StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ)))
        async with mcp.Client(server, mode=mode) as client:
            if not questions:
                return await client.list_tools()
            return [await client.call_tool(name, arguments) for name, arguments in questions]

    return asyncio.run(asyncio.wait_for(asked(), 240))


def seen(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def text(answer):
    return "".join(part.text for part in answer.content)


@pytest.mark.parametrize("mode", ["auto", "legacy"])  # the protocol of today, and that of older clients
def test_every_tool_is_there_typed_and_says_that_it_only_reads(folder, mode):
    tools = {each.name: each for each in ask(folder, mode=mode).tools}
    assert set(tools) == set(ASKED)
    for tool in tools.values():
        assert tool.annotations.read_only_hint
        assert not tool.annotations.open_world_hint
        assert tool.description
        jsonschema.Draft202012Validator.check_schema(tool.output_schema)
    assert tools["examine"].input_schema["required"] == ["target"]
    assert "required" not in tools["runs"].input_schema or tools["runs"].input_schema["required"] == []
    severity = tools["explain"].output_schema["$defs"]["FoundFault"]["properties"]["severity"]
    assert severity["enum"] == ["note", "warning", "error"]


def test_answers_are_those_of_the_library(folder):
    listed, explained, examined, plan, rules, remedy = ask(
        folder,
        ("runs", {}),
        ("explain", {"run": "first.undertow"}),
        ("examine", {"target": "report.json"}),
        ("plan", {"target": "report.json"}),
        ("rules", {}),
        ("remedies", {"code": "UR101"}),
    )
    assert not any(each.is_error for each in (listed, explained, examined, plan, rules, remedy))
    own = Tools(folder)
    assert "first.undertow" in {each["name"] for each in listed.structured_content["runs"]}
    assert explained.structured_content["findings"][0]["code"] == own.explain("first.undertow").findings[0].code
    assert examined.structured_content["gains"][0]["gain"] == own.examine("report.json").gains[0].gain
    assert [each["code"] for each in plan.structured_content["remedies"]] == [
        each.code for each in own.plan("report.json").remedies
    ]
    assert [each["code"] for each in rules.structured_content["listed"]] == sorted(RULES)
    assert remedy.structured_content["listed"][0]["sections"]["What it changes"]


def test_what_cannot_be_answered_is_a_sentence_and_the_server_goes_on(folder):
    unnamed, strange, unknown, nothing, outside, missing, code, wrong, fine = ask(
        folder,
        ("explain", {}),
        ("explain", {"run": "first.undertow", "stpe": 3}),
        ("explian", {"run": "first.undertow"}),
        ("examine", {"target": ""}),
        ("examine", {"target": "../secret.json"}),
        ("explain", {"run": "nowhere.undertow"}),
        ("examine", {"target": "net.py:build"}),
        ("explain", {"run": "first.undertow", "step": "soon"}),
        ("examine", {"target": "./report.json"}),
    )
    asked = (unnamed, strange, unknown, nothing, outside, missing, code, wrong, fine)
    assert [each.is_error for each in asked] == [True] * 8 + [False]
    assert text(unnamed) == "explain needs run, which is missing"
    assert text(strange) == "explain takes run, step, and no 'stpe'"
    assert text(unknown).startswith("there is no tool 'explian': runs, explain, ")
    assert text(nothing).endswith("no file is named: name one in the folder, by its path from there")
    assert text(wrong).startswith("explain can't take 'soon' for step: input should be a valid integer")
    assert not [each for each in asked[:-1] if "\n" in text(each) or "://" in text(each)]
    assert "leads out of the folder" in text(outside)
    assert "there is no file 'nowhere.undertow' in the folder" in text(missing)
    assert "start it with --allow-code" in text(code)
    assert str(folder) not in "".join(map(text, (outside, missing, code)))


def test_code_is_run_where_a_flag_says_so_its_prints_stay_out_of_the_protocol_and_nothing_is_left(folder):
    before = seen(folder)
    (examined,) = ask(folder, ("examine", {"target": "net.py:build"}), flags=["--allow-code"])
    assert not examined.is_error, text(examined)
    assert "UT101" in {each["code"] for each in examined.structured_content["findings"]}
    assert seen(folder) == before


def test_a_folder_that_is_not_there_is_one_line(fails):
    assert "there is no folder nowhere: name the one that holds runs and reports" in fails("mcp", "nowhere")

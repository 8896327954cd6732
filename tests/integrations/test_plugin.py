"""The example of a plugin: built, installed into an environment of its own, and used by everything that reads rules."""

import json
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"

NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 30), nn.Tanh(), nn.Linear(30, 1))
    x = torch.randn(8, 16)
    sgd = torch.optim.SGD(net.parameters(), lr=1e-9, momentum=0.9)
    return net, lambda: net(x).square().mean(), sgd
"""

LOADED = """
import sys
import undertow
from undertow import rules, remedies
early = "acme_undertow" in sys.modules
codes = set(rules.RULES) | set(remedies.KINDS)
print(early, {"ACME101", "ACME201"} <= codes, "acme_undertow.renderers" in sys.modules)
"""

USED = """
from net import build
import undertow
report = undertow.examine(*build())
cures = undertow.prescribe(report)
print(sorted({each.code for each in report.findings if each.code.startswith("ACME")}))
print([each.code for each in cures if each.code.startswith("ACME")])
print(report.save("report.md").read_text().splitlines()[0])
from undertow.integrations.trackers import names, tracker
tracker("jsonl", "run.jsonl").scalars(3, {"undertow/loss": 0.5})
print("jsonl" in names(), open("run.jsonl").read(), end="")
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A function that runs Python in an environment with the plugin's wheel, which sees this one's packages."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [
        "wheel",
        "-q",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(folder / "source"),
    ]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("acme_undertow-0.1.0-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    scratch = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", str(scratch), "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = (folder / "venv").glob("lib/*/site-packages")
    seen = [each for each in sys.path if each.endswith("site-packages")] or site.getsitepackages()
    (packages / "outer.pth").write_text("".join(f"import site; site.addsitedir({each!r})\n" for each in seen))
    (folder / "net.py").write_text(NET)

    def run(*words):
        done = subprocess.run([str(scratch), *words], cwd=folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    run.folder, run.packages = folder, packages
    return run


def test_it_is_loaded_when_rules_are_read_and_not_before(python):
    assert python("-c", LOADED) == (0, "False True False\n", "")


def test_its_own_tests_hold_it_to_our_contracts(python):
    code, said, _ = python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(python.folder / "source" / "tests"))
    assert code == 0, said
    assert "4 passed" in said


def test_its_rule_remedy_renderer_and_tracker_are_used_as_ours_are(python):
    code, said, errors = python("-c", USED)
    assert (code, errors) == (0, "")
    assert said.splitlines() == [
        "['ACME101']", "['ACME201']", "# Sequential", 'True {"step": 3, "undertow/loss": 0.5}'
    ]  # fmt: skip


def test_commands_know_it(python):
    assert "A layer's width is no multiple of eight." in python("-m", "undertow", "rule", "ACME101")[1]
    words = ["net.py:build", "--fail-on", "note", "--select", "ACME", "--format", "sarif"]
    code, said, _ = python("-m", "undertow", "check", *words)
    (told,) = json.loads(said)["runs"]
    assert code == 1
    assert {each["ruleId"] for each in told["results"]} == {"ACME101"}


def test_broken_it_costs_itself_only(python):
    module = python.packages / "acme_undertow" / "rules.py"
    text = module.read_text()
    module.write_text(text + "\nraise RuntimeError('half-way')\n")
    try:
        _, said, errors = python("-m", "undertow", "check", "net.py:build", "--json")
        found = {each["code"] for each in json.loads(said)["findings"]}
        assert "UT408" in found
        assert not any(each.startswith("ACME") for each in found)
        assert errors.count("the plugin acme of acme-undertow 0.1.0 can't be loaded") == 1
        assert "RuntimeError: half-way" in errors
    finally:
        module.write_text(text)

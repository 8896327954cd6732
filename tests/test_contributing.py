"""The recipes of CONTRIBUTING.md, followed: what is added in one place is picked up everywhere."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from typer.testing import CliRunner

from undertow import rules
from undertow.cli import app
from undertow.record import Role, Run, Site
from undertow.rules.explained import page
from undertow.silence import Silence

RULE = '''
"""UT999: weights that are too round."""

from collections.abc import Iterator

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.registry import RUN, rule


@rule("UT999", "round weights", columns=("weight_norm",), excused_by_convergence=True)
def round_weights(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The norm of a layer's weights is a whole number.

    What:
        It has no digits behind the point.
    Why it is bad:
        It is not.
    Evidence:
        ``norm``.
    Threshold:
        None.
    What to do:
        Nothing.
    References:
        Nobody.
    """
    norms = diagnosis.column("weight_norm")
    for site in diagnosis.run.sites:
        if norms[site.index] == int(norms[site.index]):
            yield Finding("UT999", "round weights", Severity.WARNING, (site.index,), site.name, "Too round.")


@rule("UT998", "long run", over=RUN)
def long_run(history: RunHistory) -> Iterator[Finding]:
    """There are more steps than three.

    What:
        Four.
    Why it is bad:
        It is not.
    Evidence:
        None.
    Threshold:
        Three.
    What to do:
        Nothing.
    References:
        Nobody.
    """
    if len(history.steps) > 3:
        yield Finding("UT998", "long run", Severity.NOTE, (), "everywhere", "It is long.", began=3)
'''


def run_of(norms):
    """A layer whose weights have these norms at one step after another."""
    columns = {"weight_norm": np.asarray(norms, float)[:, None], "grad_output": np.ones((len(norms), 1))}
    steps = {"step": np.arange(float(len(norms)))}
    return Run({}, (Site(0, "fc", "addmm", Role.WEIGHT, parameters=("fc.weight",)),), (), columns, steps=steps)


@pytest.fixture(params=["undertow.rules", "rules_of_others"])
def discovered(request, tmp_path, monkeypatch):
    """A file with rules beside the package's own, or in another package; gone again after the test."""
    (tmp_path / "rules_of_others").mkdir()
    (tmp_path / "rules_of_others" / "__init__.py").touch()
    (tmp_path / "rules_of_others" / "ut9_round.py").write_text(RULE)
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path / "rules_of_others")])
    monkeypatch.syspath_prepend(tmp_path)
    known = dict(rules.RULES)
    yield rules.discover(request.param)
    rules.RULES.clear()
    rules.RULES.update(known)
    for name in [name for name in sys.modules if name.startswith("rules_of_others") or name.endswith(".ut9_round")]:
        del sys.modules[name]


def test_a_rule_is_one_function_and_everything_finds_it(discovered):
    assert discovered[-1].endswith("ut9_round")
    assert {"UT998", "UT999"} <= set(rules.RULES)
    assert "UT999" in {found.code for found in rules.judge([run_of([2.0])])}
    assert "UT999" not in {found.code for found in rules.judge([run_of([2.5])])}
    found = {f.code: f for f in rules.over_time(run_of([2.5, 2.5, 2.5, 2.5, 2.0, 2.0, 2.0, 2.0]))}
    assert (found["UT999"].began, found["UT998"].began) == (4, 3)
    told = CliRunner().invoke(app, ["rule", "UT999"]).output
    assert "The norm of a layer's weights is a whole number." in told
    assert "UT998  long run" in CliRunner().invoke(app, ["rule"]).output
    assert "## UT998 long run" in page()
    assert Silence.parse("UT999:fc").code == "UT999"


ACTIVATION = """
import numpy as np
from undertow import activations
from undertow.activations import InTorch, written

new = written(
    "atan",
    lambda z, m: m.arctan(z),
    lambda z, m: 1 / (1 + z * z),
    peak=1.0,
    torch=InTorch("atan", op="atan", saved="self", bounded=True, rising=True),
    script=("Math.atan", "(z) => 1 / (1 + z * z)"),
)
activations.ACTIVATIONS[new.name] = new  # what its line in the table does

import torch
from torch import nn
from undertow import examine, theory
from undertow.lab import Ensemble
from undertow.lab.kernels import kernel
from undertow.render.page import source
from undertow.record import Role

z = torch.linspace(-3, 3, 7, dtype=torch.float64)
out = torch.empty_like(z)
kernel("atan").value(z, out)
assert torch.equal(out, torch.atan(z))
assert torch.allclose(kernel("atan").derivative(z, out), 1 / (1 + z**2))

x, y = torch.randn(16, 5, dtype=torch.float64), torch.randint(0, 3, (16,))
nets = Ensemble([5, 8, 8, 3], members=2, seed=0, activation="atan", dtype=torch.float64)
member = nets.member(1)
member.loss(x, y).backward()
speeds = [layer.bias.grad.norm().item() for layer in member.layers]
assert np.allclose(np.asarray(nets.learning_speed(x, y))[1], speeds, rtol=1e-12)

report = examine(member, lambda: member.loss(x, y))
(first, *_) = [site for site in report.run.sites if site.activation == "atan"]
assert first.role is Role.ACTIVATION
row = report.run.column("derivative_rms")[first.index]
assert 0.3 < row < 1, row
assert np.isfinite(report.run.column("saturated")[first.index])
assert any(abs(gain.factors.get("activation", 1.0) - 1) > 1e-6 for gain in report.gains)

assert 0 < theory.meanfield.chi("atan", weight_var=1.0, bias_var=0.0) <= 1
assert theory.chain is not None and "atan: { value: Math.atan" in activations.script()
"""


def test_an_activation_is_one_entry_and_everything_reads_it():
    code = textwrap.dedent(ACTIVATION)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

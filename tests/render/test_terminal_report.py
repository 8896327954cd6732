"""What ``print(report)`` shows: the verdict first, in the width there is, with every layer named."""

import os
import pty
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sample_models
import undertow
from undertow.record import Finding, Severity
from undertow.render.terminal import Screen
from undertow.render.terminal_report import text


def nan():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(8, 4)
    return net, lambda: (net(x) * 0).log().mean()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.weight = nn.Linear(4, 4), nn.Linear(4, 4), nn.Parameter(torch.randn(4, 2))

    def forward(self, x):
        return torch.relu(self.b(torch.relu(self.a(x)))) @ self.weight


def twice():
    torch.manual_seed(0)
    net, x = Twice(), torch.randn(8, 4)
    return net, lambda: net(x).square().mean()


def transformer():
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(6)]
    net, x = nn.Sequential(*layers, nn.Linear(16, 3)), torch.randn(2, 5, 16)
    return net, lambda: net(x).square().mean()


MODELS = {
    "sigmoid": sample_models.sigmoid,
    "residual": sample_models.residual,
    "hostile": sample_models.hostile,
    "thousand": sample_models.thousand,
    "nan": nan,
    "twice": twice,
    "transformer": transformer,
}


@pytest.fixture(scope="module")
def reports():
    return {name: undertow.examine(*made()) for name, made in MODELS.items()}


def code_lines(report):
    return {line.strip() for each in report.findings for line in each.snippet.splitlines()}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(MODELS)), st.integers(30, 200))
def test_every_line_fits_but_lines_to_copy(reports, name, width):
    copied = code_lines(reports[name])
    for line in text(reports[name].diagnosis, Screen(width)).splitlines():
        assert len(line) <= width or line.strip() in copied


def test_a_wide_terminal_shows_more(reports):
    diagnosis = reports["sigmoid"].diagnosis
    assert "speed (coherence)" in text(diagnosis, Screen(160))
    assert "speed (coherence)" not in text(diagnosis, Screen(60))
    assert "gradient  " in text(diagnosis, Screen(60))


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_is_named_with_its_type(reports, name):
    shown = re.sub(r"\s+", " ", text(reports[name].diagnosis, Screen(100)))
    layers = [site for site in reports[name].run.sites if site.role == "weight" and site.module]
    for kind in {site.module_type for site in layers}:
        assert f"({kind.replace('NonDynamicallyQuantizable', '')})" in shown
    assert "addmm" not in shown
    last = shown.rpartition("Layers, input first: ")[2]
    for site in layers[:20]:
        assert site.module in last or ".." in last


def test_what_comes_twice_has_a_number_and_a_bare_weight_its_name(reports):
    shown = text(reports["twice"].diagnosis, Screen(100))
    assert re.search(r"^  weight +[\d.]", shown, re.MULTILINE)
    assert "a, b (Linear); weight" in shown


def test_a_long_chain_is_folded_into_rows_that_say_how_many_and_what_each_does(reports):
    shown = text(reports["thousand"].diagnosis, Screen(100))
    rows = [line for line in shown.splitlines() if re.search(r"\d alike", line)]
    told = [(int(re.search(r"(\d+) alike", row)[1]), re.search(r"x ([\d.e-]+) each", row)) for row in rows]
    assert sum(count for count, _ in told) > 400
    assert [gain is None for _, gain in told] == [re.search(r"alike +0( |$)", row) is not None for row in rows]
    assert any(gain for _, gain in told)
    assert len(rows) < 24


def test_what_isnt_finite_is_no_table_of_signs(reports):
    shown = text(reports["nan"].diagnosis, Screen(80))
    assert "The gradient is not finite at any layer" in shown
    assert not re.search(r"\bx +x\b", shown)
    assert "0, 2 (Linear)" in shown


def test_the_verdict_comes_first_with_what_to_type_and_what_follows_beneath_it(vanishing):
    remedy = {"advice": "Use He initialisation.", "snippet": "for layer in model:\n    layer.reset()"}
    cause = Finding("UT101", "vanishing", Severity.ERROR, (), "", "It fades.", threshold="over 3", **remedy)
    late = Finding("UT202", "dead", Severity.WARNING, (), "", "Units are dead. " * 20, follows_from="UT101")
    other = Finding("UT301", "start", Severity.WARNING, (), "", "It starts small.", **remedy)
    lines = text(replace(vanishing.diagnosis, findings=[cause, late, other]), Screen(60)).splitlines()
    assert lines[2] == "  VANISHING   UT101 error: it can't learn as it stands"
    assert lines[3] == "  It fades."
    assert lines[4].startswith("  By cause, in decades: activation")
    at = lines.index("      for layer in model:")
    assert lines[at + 1] == "          layer.reset()"
    assert lines[at + 3] == "  more: undertow rule UT101"
    assert lines[at + 4] == "  follows from it: UT202 warning (dead)"
    assert lines.count("      for layer in model:") == 1  # said once, and named after that
    assert "  What to type is the same as for UT101." in lines


PRINTING = """
import undertow
print(undertow.Report.read({path!r}))
"""


def shown_on_a_terminal(path, **environment):
    """Print a report in a process whose standard output is a terminal, and return what arrives there."""
    leader, follower = pty.openpty()
    whole = {**{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}, **environment}
    whole |= {"TERM": "xterm", "COLUMNS": "70"}
    command = [sys.executable, "-c", PRINTING.format(path=str(path))]
    process = subprocess.Popen(command, stdout=follower, stderr=subprocess.PIPE, env=whole)
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other side has closed
            break
        if not part:
            break
        seen += part
    os.close(leader)
    assert process.communicate()[1] == b""
    assert process.returncode == 0
    return seen.decode()


def test_colour_on_a_terminal_and_none_elsewhere(vanishing, tmp_path):
    path = vanishing.save(tmp_path / "report.json")
    coloured = shown_on_a_terminal(path)
    assert f"\x1b[1;31m{vanishing.findings[0].name.upper()}" in coloured
    plain = shown_on_a_terminal(path, NO_COLOR="1")
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).split() == plain.split()
    command = [sys.executable, "-c", PRINTING.format(path=str(path))]
    piped = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "70"}, check=True)
    assert "\x1b" not in piped.stdout
    assert piped.stdout.split() == plain.split()


def test_no_control_character_of_a_name_reaches_a_coloured_terminal(hostile_run):
    from undertow.diagnosis import Diagnosis

    run = replace(hostile_run, header={**hostile_run.header, "model": "\x1b]0;owned\x07net\x9b31m"})
    shown = text(Diagnosis(run), Screen(80, coloured=True))
    assert set(re.findall(r"[\x00-\x1f\x7f-\x9f]", shown)) == {"\n", "\x1b"}
    assert all(re.match(r"\[[\d;]*m", after) for after in shown.split("\x1b")[1:])

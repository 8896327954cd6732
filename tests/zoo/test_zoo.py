"""A dozen animals of the zoo; `make zoo` looks at all of them."""

import json
import re
from pathlib import Path

import pytest
import torch

from undertow.examination import examine
from zoo import defaults, faulty, healthy, reported, reported_loops, tables
from zoo.case import FALLS_TO, alarms, fall, found, train
from zoo.peers import RULES

DOCS = Path(__file__).parents[2] / "docs"

ILL = (
    "A: book, 4 hidden layers",
    "F: ReLU 20x64, twice He",
    "conv 10, a fifth of He",
    "tanh RNN, radius 0.5, every step",
    "dead ReLU, transformer",
    "constant recurrence",
    "bottleneck beside a skip",
    "sqrt masked too late",
    "attention masked altogether",
    "bfloat16, steps rounded away",
    "front layers at lr 1e-9",
    "RNN that overflows",
)
WELL = (
    "residual 12, LayerScale 1e-6",
    "conv 8, BatchNorm",
    "LSTM, last step",
    "pre-norm transformer",
    "nn.Transformer, encoder and decoder",
)


def named(cases, names):
    by_name = {case.name: case for case in cases}
    return [pytest.param(by_name[name], id=name) for name in names]


def test_names_are_unique():
    families = (faulty, healthy, defaults, reported, reported_loops)
    names = [case.name for family in families for case in family.CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", named(faulty.CASES, ILL))
def test_a_fault_is_found_in_its_place(case):
    subject = case.build(0)
    report = examine(subject.model, subject.compute_loss, subject.optimizer)
    assert found(case, report), [f"{f.code} at {f.where}" for f in report.findings]


DEFAULT = (
    "default: ReLU 7 layers, Adam",
    "default: ReLU 6 layers, SGD",
    "default: conv 6 layers, average pools, Adam",
    "default: LSTM, 12 steps, last, SGD",
    "default: RNN, 8 steps, last, Adam",
)


@pytest.mark.parametrize("case", named(defaults.CASES, DEFAULT))
def test_a_default_start_of_few_layers_raises_no_alarm(case):
    subject = case.build(0)
    assert alarms(examine(subject.model, subject.compute_loss, subject.optimizer)) == []


@pytest.mark.filterwarnings("ignore:Using a target size")  # torch's own, which people overlook
@pytest.mark.parametrize("pair", [*reported.PAIRS[::5], *reported_loops.PAIRS[::3]], ids=lambda pair: pair.name)
def test_a_reported_fault_is_found_and_its_mended_twin_is_quiet(pair):
    torch.manual_seed(1000)
    broken = pair.build(True)
    said = {each.code for each in alarms(examine(broken.model, broken.compute_loss, broken.optimizer))}
    assert said & set(pair.codes)
    mended = pair.build(False)
    assert alarms(examine(mended.model, mended.compute_loss, mended.optimizer)) == []
    assert fall(train(mended, pair.steps)) <= FALLS_TO


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch, of its own norm_first
@pytest.mark.parametrize("case", named(healthy.CASES, WELL))
def test_a_network_that_trains_raises_no_alarm(case):
    subject = case.build(0)
    before = alarms(examine(subject.model, subject.compute_loss, subject.optimizer))
    assert fall(train(subject, case.steps)) <= FALLS_TO
    after = alarms(examine(subject.model, subject.compute_loss, subject.optimizer))
    assert [f"{f.code} at {f.where}" for f in (*before, *after)] == []


def test_wilsons_interval():
    """Newcombe 1998, table I: 81 of 263 gives .2553 to .3662; 0 of 20 gives 0 to .1611."""
    assert tables.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert tables.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_the_page_of_peers_says_of_them_what_the_zoo_says():
    page = (DOCS / "peers.md").read_text("utf-8")
    rows = {
        row["name"][:2]: row for row in json.loads((DOCS / "zoo.json").read_text("utf-8")) if row["stage"] == "start"
    }
    words = dict(zip(RULES, ("1e-7..100", "L2, ", "traintools", "mean absolute value", "AUTOTRAINER"), strict=True))
    table = re.findall(r"^\| ([A-G]:).*\|([^|]*)\|([^|]*)\|$", page, re.MULTILINE)
    assert [name for name, _, _ in table] == ["A:", "B:", "C:", "D:", "E:", "F:", "G:"]
    for name, peers, ours in table:
        peers = peers.replace("both limits on L2", "1e-7..100, L2, ").replace("all five", ", ".join(words.values()))
        assert {rule for rule, word in words.items() if word in peers} == set(rows[name]["peers"])
        assert sorted(re.findall(r"UT\d+", ours)) == rows[name]["alarms"]


def test_the_page_of_peers_counts_the_zoo_as_the_zoo_does():
    zoo, page = ((DOCS / name).read_text("utf-8") for name in ("zoo.md", "peers.md"))
    counted = r"(\d+) networks with a known fault and (\d+) healthy ones"
    assert re.findall(counted, page) == re.findall(counted, zoo)[:1]

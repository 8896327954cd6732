"""The plugin keeps the contracts that undertow's own rules, remedies, renderers and trackers keep."""

import json

import torch
from acme_undertow.renderers import markdown
from acme_undertow.trackers import JsonLines
from torch import nn

from undertow import Training
from undertow.testing import check_remedy, check_renderer, check_rule, check_tracker


def of_width(width):
    net = nn.Sequential(nn.Linear(16, width), nn.Tanh(), nn.Linear(width, 1))
    return net, lambda: net(torch.ones(4, 16)).square().mean()


def test_the_rule():
    check_rule("ACME101", lambda: of_width(30), lambda: of_width(32))


def test_the_remedy():
    training = Training(
        model=lambda: nn.Linear(4, 1),
        batches=[torch.ones(8, 4)],
        loss=lambda model, x: model(x).square().mean(),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    )
    check_remedy("ACME201", training)


def test_the_renderer():
    check_renderer(markdown)


def test_the_tracker(tmp_path):
    path = tmp_path / "run.jsonl"

    def read():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        rows = [line for line in lines if "undertow/loss" in line]
        return {name: [(row["step"], row[name]) for row in rows] for name in rows[0]}

    check_tracker(lambda: JsonLines(path), read)
    assert (tmp_path / "run.html").is_file()

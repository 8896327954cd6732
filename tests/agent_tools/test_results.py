"""Answers are JSON of bounded size that says what its parts are."""

import dataclasses
import json

import numpy as np

from undertow.agent_tools import Tools, confined, results
from undertow.record import Run
from undertow.store import save_run


def texts(value):
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_answers_are_json_of_bounded_size_whose_texts_act_on_nothing(tools, folder):
    hostile = next(each.name for each in folder.iterdir() if "\x1b" in each.name or each.name.startswith("<"))
    answers = [
        tools.explain(hostile),
        tools.plan("report.json"),
        tools.examine("report.json"),
        tools.runs(),
        tools.rules(),
    ]
    for answer in answers:
        written = json.dumps(dataclasses.asdict(answer), allow_nan=False)
        assert len(written) < 400_000
        assert not any(ord(sign) < 32 and sign not in "\n\t" for text in texts(answer) for sign in text)


def test_many_findings_are_cut_and_counted(tmp_path):
    unreached = [f"layer{n}.weight" for n in range(3)]
    run = Run(
        {"unreached": unreached, "model": "x" * 9_000}, (), scalars={"loss": np.full(3, np.inf), "step": np.arange(3.0)}
    )
    save_run(run, tmp_path / "odd.undertow")
    told = Tools(tmp_path).explain("odd.undertow")
    assert len(told.model) < confined.MOST_SIGNS + 100
    assert told.loss_first is None
    assert len(told.findings) + told.left_out >= 1


def test_every_answer_says_what_its_parts_are():
    for kind in vars(results).values():
        if dataclasses.is_dataclass(kind):
            assert all(f"{name}" in kind.__doc__ for name in kind.__dataclass_fields__), kind

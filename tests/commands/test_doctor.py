import json

import jsonschema
import pytest

from undertow.schemas import schema

FILE = """
import torch
import undertow
from torch import nn
from torch.nn import functional

x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))

def broken():
    return undertow.Training(
        model=lambda: nn.Linear(4, 1),
        batches=[(x, x.sum(1, keepdim=True))],
        loss=lambda model, batch: functional.mse_loss(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=1e-6),
    )

def model():
    return nn.Linear(4, 1), lambda: None
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_training_is_treated_and_told_on_stdout_and_in_a_file(run, file, tmp_path):
    out = tmp_path / "answer.txt"
    told = run(
        "doctor", f"{file}:broken", "--budget", "10m", "--seeds", "3", "--levels", "a", "--steps", "60", "--processes",
        "0", "--json", "--out", str(out),
    )  # fmt: skip
    answer = json.loads(told.stdout)
    assert answer["verdict"] == "repaired"
    jsonschema.validate(answer, schema("treatment"))
    assert {each["code"][:3] for each in answer["remedies"]} == {"UR1"}
    assert "This training was repaired." in out.read_text()


def test_what_returns_no_training_is_told_what_to_return(fails, file):
    assert "the doctor needs to train, so end it with `return undertow.Training(" in fails("doctor", f"{file}:model")


def test_examine_and_check_take_a_training_too(run, file):
    assert "gradient" in run("examine", f"{file}:broken").output
    assert run("check", f"{file}:broken", "--fail-on", "error").exit_code == 0

"""A patch changes the lines that it must, and the file then does what the treatment did."""

import importlib.util
import subprocess

import pytest
import torch

from undertow.doctoring.patching import patched
from undertow.remedies import Remedy, apply

FILE = '''\
import torch
from torch import nn
from torch.nn import functional
import undertow   # odd   spacing

X = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))


def other():
    return torch.optim.SGD([], lr=50.0)


def broken():
    """Mine."""
    return undertow.Training(
        model=lambda: nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 1)),
        batches=[(X, X.sum(1, keepdim=True))],   # one
        loss=lambda model, batch: functional.mse_loss(model(batch[0]), batch[1]),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=50.0),  # my rate
        clip_grad_norm=1e-6,
    )
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def training(file):
    spec = importlib.util.spec_from_file_location("patched_file", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.broken()


@pytest.mark.parametrize(
    "remedies",
    [
        [Remedy("UR101", {"factor": 0.001})],
        [Remedy("UR112"), Remedy("UR102", {"lr": 0.01})],
        [Remedy("UR103", {"norm": 0.5})],
        [Remedy("UR301", {"to": "relu"}), Remedy("UR302"), Remedy("UR101", {"factor": 0.001})],
        [Remedy("UR304"), Remedy("UR403"), Remedy("UR104", {"steps": 5})],
        [Remedy("UR303"), Remedy("UR201", {"activation": "tanh"}), Remedy("UR111", {"value": 0.5})],
    ],
    ids=lambda remedies: "+".join(each.code for each in remedies),
)
def test_a_patched_file_trains_as_the_treatment_did(file, remedies):
    before = training(file)
    written = [each.written_for(before) for each in remedies]
    patch = patched(file, "broken", written)
    assert patch.left == []
    patch.write(unsafe=True, force=True)
    wanted, found = apply(written, before).run(3, 8), training(file).run(3, 8)
    assert found.losses == pytest.approx(wanted.losses, rel=1e-4)


def test_only_the_lines_that_must_change(file):
    diff = patched(file, "broken", [Remedy("UR101", {"factor": 0.001})]).diff
    changed = [line for line in diff.splitlines() if line[0] in "+-" and not line.startswith(("+++", "---"))]
    assert changed == [
        "-        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=50.0),  # my rate",
        "+        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.05),  # my rate",
    ]


def test_what_needs_data_or_the_loop_is_left_to_the_reader(file):
    patch = patched(file, "broken", [Remedy("UR304"), Remedy("UR113"), Remedy("UR401")])
    assert [each.code for each in patch.left] == ["UR304", "UR113", "UR401"]
    assert patch.diff == ""


def test_levels_c_and_d_and_changes_that_git_lacks_need_a_word_more(file):
    bold = patched(file, "broken", [Remedy("UR302")])
    with pytest.raises(ValueError, match="--unsafe writes them"):
        bold.write(force=True)
    mild = patched(file, "broken", [Remedy("UR101", {"factor": 0.1})])
    with pytest.raises(ValueError, match="changes that git doesn't have"):
        mild.write()
    assert file.read_text() == FILE
    for words in (
        ["init", "-q"],
        ["add", "mine.py"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *words], cwd=file.parent, check=True)
    mild.write()
    assert "lr=5)" in file.read_text()
    with pytest.raises(ValueError, match="changes that git doesn't have"):
        mild.write()


def test_a_function_without_a_training_is_named(file):
    with pytest.raises(ValueError, match=r"other of .* holds no call of Training"):
        patched(file, "other", [Remedy("UR102")])
    assert torch.is_tensor(training(file).batches[0][0])

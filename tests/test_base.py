"""What `pip install undertow` alone must do, and what it says where an extra is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

LEFT_OUT = (
    "pooch",
    "requests",
    "platformdirs",
    "safetensors",
    "jsonschema",
    "pyarrow",
    "pandas",
    "sklearn",
    "ray",
    "mcp",
)
NET = """
import torch
def make():
    torch.manual_seed(0)
    net = torch.nn.Sequential(*[layer for _ in range(4) for layer in (torch.nn.Linear(8, 8), torch.nn.Sigmoid())])
    return net, lambda: net(torch.ones(4, 8)).square().mean()
"""
ALTAIR_NEEDS = ("jsonschema",)


def undertow(folder: Path, *arguments: str, without: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    """The command in a process that finds none of the packages that an extra brings."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({without!r}))"
    script = f"{blocked}; sys.argv = {['undertow', *arguments]!r}; from undertow.cli import main; main()"
    return subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)


def test_a_loss_is_examined_printed_and_written_as_a_page(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    without = tuple(name for name in LEFT_OUT if name not in ALTAIR_NEEDS)
    done = undertow(tmp_path, "examine", "net.py:make", "--out", "report.html", without=without)
    assert done.returncode == 0, done.stderr
    assert "undertow" in done.stdout
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chapter5", "--quick"], 'platformdirs, which is not installed: pip install "undertow[lab]"'),
        (
            ["study", "remedies", "--data", "digits"],
            'scikit-learn, which is not installed: pip install "undertow[digits]"',
        ),
        (["mcp", "."], 'mcp, which is not installed: pip install "undertow[mcp]"'),
        (["sweep", "a.toml", "--ray", "auto"], 'ray, which is not installed: pip install "undertow[ray]"'),
    ],
)
def test_a_part_without_its_extra_says_what_to_install_in_one_line(tmp_path, monkeypatch, arguments, said):
    monkeypatch.delenv("UNDERTOW_DATA", raising=False)
    (tmp_path / "f.py").write_text("def f(n):\n    return n\n")
    (tmp_path / "a.toml").write_text('function = "f.py:f"\n[grid]\nn = [1, 2]\n')
    done = undertow(tmp_path, *arguments, without=LEFT_OUT)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1

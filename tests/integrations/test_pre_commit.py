"""The hook, used by the real pre-commit in a small repository."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sample_models import NET

pytest.importorskip("pre_commit")

ROOT = Path(__file__).parents[2]

CONFIG = """
repos:
  - repo: {hooks}
    rev: v1
    hooks:
      - id: undertow-check
        args: [net.py:build, --fail-on, error]
"""


@pytest.fixture
def git(tmp_path):
    """A function that runs a command in one of the test's folders; undertow is found where this Python finds it."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "undertow").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m undertow "$@"\n')
    (bin_ / "undertow").chmod(0o755)
    known = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "PRE_COMMIT_HOME": str(tmp_path / "home"), "NO_COLOR": "1",
        "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }  # fmt: skip

    def run(folder, *words):
        done = subprocess.run(words, cwd=tmp_path / folder, env=known, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_commit_with_a_model_that_cannot_learn_is_refused(tmp_path, git):
    for folder in ("hooks", "mine"):
        (tmp_path / folder).mkdir()
        git(folder, "git", "init", "-q", "-b", "main")
    (tmp_path / "hooks" / ".pre-commit-hooks.yaml").write_text((ROOT / ".pre-commit-hooks.yaml").read_text())
    git("hooks", "git", "add", ".")
    git("hooks", "git", "commit", "-qm", "hooks")
    git("hooks", "git", "tag", "v1")
    (tmp_path / "mine" / ".gitignore").write_text("__pycache__/\n")
    net = tmp_path / "mine" / "net.py"
    net.write_text(textwrap.dedent(NET))
    (tmp_path / "mine" / ".pre-commit-config.yaml").write_text(CONFIG.format(hooks=tmp_path / "hooks"))
    git("mine", "git", "add", ".")
    pre_commit = (sys.executable, "-m", "pre_commit")
    code, said = git("mine", *pre_commit, "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml"))
    assert (code, said) == (0, "")
    code, said = git("mine", *pre_commit, "install")
    assert code == 0, said
    code, said = git("mine", "git", "commit", "-qm", "deep")
    assert code == 1, said
    assert "undertow check" in said
    assert "UT101 error" in said
    net.write_text(textwrap.dedent(NET).replace("def build", "def deep").replace("def better", "def build"))
    git("mine", "git", "add", ".")
    code, said = git("mine", "git", "commit", "-qm", "learns")
    assert code == 0, said

"""What holds of every command: help, version, completion, exit codes, errors."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from undertow import cli
from undertow.cli import app
from undertow.formatting import terse

COMMANDS = sorted(get_command(app).commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_ends_with_an_example(run, command):
    output = run(command, "--help").output
    last = [line.strip() for line in output.splitlines() if line.strip()][-1]
    assert last.startswith(f"Example: undertow {command}")
    assert "--help" not in last


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_flags_are_shown_as_flags(run, command):
    output = run(*[command][: bool(command)], "--help").output
    assert "<bool>" not in output
    assert "--help" in output


def test_the_version_is_told(run):
    result = run("--version")
    assert result.output == f"undertow {version('undertow')}\n"
    assert result.exit_code == 0


def completed(shell, words):
    """Ask for a completion as the shell does, at the end of what was typed."""
    line = " ".join(words)
    typed = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": line}
    asked = {"_UNDERTOW_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args", **typed}
    return CliRunner().invoke(app, [], env=asked, prog_name="undertow").output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["undertow", "exa"], "examine"),
        (["undertow", "check", "--sel"], "--select"),
        (["undertow", "check", "--format", "sa"], "sarif"),
        (["undertow", "rule", "UT10"], "UT101"),
        (["undertow", "study", "glo"], "glorot2010"),
    ],
)
def test_commands_options_and_names_are_completed(shell, words, offered):
    assert offered in completed(shell, words)


OWN = {"bash": "complete -o default", "zsh": "#compdef undertow", "fish": "complete --command undertow"}
"""Part of the script that each shell reads."""


@pytest.mark.parametrize("shell", OWN)
def test_the_script_of_the_shell_that_is_named_is_shown(shell, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["undertow", "--show-completion", shell])
    cli.main()
    script = capsys.readouterr().out
    assert "_UNDERTOW_COMPLETE" in script
    assert OWN[shell] in script


def in_shell(words, script, folder):
    """Run a script in a shell that finds the command ``undertow``, and return what it prints."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"there is no {words[0]} here")
    command = folder / "undertow"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m undertow "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run([*words, "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout, done.stderr
    return done.stdout.split()


def test_fish_completes(tmp_path):
    script = "undertow --show-completion fish | source; complete -C 'undertow exa'"
    assert in_shell(["fish", "--no-config"], script, tmp_path)[0] == "examine"


def test_zsh_takes_the_script(tmp_path):
    script = (
        'autoload -Uz compinit && compinit -D -u; eval "$(undertow --show-completion zsh)"; print $_comps[undertow]'
    )
    assert in_shell(["zsh", "-f"], script, tmp_path) == ["_undertow_completion"]


def test_bash_completes(tmp_path):
    """In a real bash: the script is read, and its function asked for what begins with exa."""
    script = """
        eval "$(undertow --show-completion bash)"
        function=$(complete -p undertow | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=(undertow exa) COMP_CWORD=1
        $function undertow
        echo "${COMPREPLY[@]}"
    """
    assert in_shell(["bash", "--norc"], script, tmp_path) == ["examine"]


def test_without_a_name_the_studies_are_listed(run):
    lines = run("study").output.splitlines()
    assert [line.split()[0] for line in lines][:2] == ["chapter5", "glorot2010"]
    assert all(len(line.split()) > 3 for line in lines)


def test_a_reader_who_has_seen_enough_is_no_fault(tmp_path):
    script = "undertow rule UT101 | head -1; echo ${PIPESTATUS[0]}"
    assert in_shell(["bash", "--norc"], script, tmp_path)[-1] == "141"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (lambda: terse("a text"), 3, "this is a fault of undertow, not yours: TypeError: must be real number, not str"),
        (lambda: {}["gone"], 2, "your code failed at "),
        (lambda: Path("gone.json").read_text(), 2, "undertow: gone.json: no such file or directory"),
        (lambda: sys.exit(0), 2, "ended the program"),
    ],
)
def test_whose_fault_an_error_is_shows_in_the_exit_code(monkeypatch, capsys, raised, code, said):
    monkeypatch.setattr(cli, "app", lambda **_: raised())
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == code
    told = capsys.readouterr().err
    assert said in told
    assert "Errno" not in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--repeats", "0"], "give 1 or more"),
        (["--repeats", "many"], "give a whole number"),
        (["--fail-on", "bad"], "'bad' is not one of 'note', 'warning', 'error'"),
        (["--format", "xml"], "'xml' is not one of 'text', 'json', 'github', 'sarif', 'junit'"),
    ],
)
def test_a_value_is_refused_in_plain_words(fails, words, said):
    told = re.sub(r"[\s│]+", " ", fails("check", "net.py:build", *words))
    assert said in told
    assert "Input should" not in told
    assert "Value error" not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["examine", ""], "names no function: write FILE.py:FUNCTION, as in net.py:"),
        (["examine", "report.html"], "it is what a report is written to, to be looked at"),
        (["examine", "report.json"], "`undertow check report.json` lists the findings"),
        (["examine", "runs/first.undertow"], "`undertow show runs/first.undertow` tells how it went"),
        (["examine", "net.py"], "as in net.py:make"),
        (["examine", "net.py:swapped"], "returned (compute_loss, model): write the model first"),
        (["examine", "net.py:sized"], "sized() of net.py needs width"),
        (["examine", "net.py:lazy"], "lazy() of net.py yields: write a plain function"),
        (["examine", "net.py:later"], "later() of net.py is async: write a plain function"),
        (["examine", "net.py:named"], "as in torch.optim.Adam(model.parameters())"),
        (["examine", "net.py:loss"], "is a Tensor, no function: write `lambda: loss_function(model(x), y)`"),
        (["check", "gone.json"], "gone.json: no such file or directory"),
        (["diff", "net.py", "net.py"], "it is no JSON"),
        (["diff", "net.py", "net.py", "--out", "page.png"], "name it .html"),
        (["examine", "."], "is a folder: write FILE.py:FUNCTION"),
    ],
)
def test_one_sentence_says_what_to_write_instead(project, refusal, words, said):
    project("net.py", MISTAKES)
    told = refusal(*words)
    assert said in told
    for theirs in ("Errno", "Traceback", "Expecting value", "positional"):
        assert theirs not in told


MISTAKES = """
    import torch

    def make():
        net = torch.nn.Linear(2, 1)
        return net, lambda: net(torch.ones(3, 2)).sum()

    def swapped():
        return make()[::-1]

    def sized(width):
        return make()

    def lazy():
        yield make()

    async def later():
        return make()

    def named():
        return *make(), "adam"

    def loss():
        net, compute_loss = make()
        return net, compute_loss()
"""

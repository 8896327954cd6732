import pytest


@pytest.mark.parametrize(
    ("target", "content", "why"),
    [
        ("net.py", "", "names no function: write FILE.py:FUNCTION, as in net.py:build"),
        ("gone.py:build", "", "there is no file gone.py"),
        ("net.py:buidl", "def build(): pass", "net.py has no function buidl: did you mean build?"),
        ("net.py:build", "build = 3", "build of net.py is an int, not a function"),
        ("net.py:build", "def build(): return 3", "returned an int: end it with `return model, compute_loss`"),
        ("net.py:build", "def build(): return 1, 2, 3, 4", "returned 4 values"),
        ("net.py:build", "def build(): return 1, 2", "the compute_loss of build() of net.py is an int"),
        ("net.py:build", "def build(): return 1, print", "model is a int, not a torch.nn.Module"),
        ("net.py:build", "\nimport nothing_like_it", "net.py, line 2: ModuleNotFoundError: No module named"),
        ("net.py:build", "\n\nx = 1 / 0", "net.py, line 3: ZeroDivisionError: division by zero"),
        ("net.py:build", "def build(:", "net.py, line 1: invalid syntax"),
        ("net.py:build", "import sys\nsys.exit(3)", "net.py, line 2: SystemExit: 3"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(project, fails, target, content, why):
    project("net.py", content)
    said = fails("examine", target)
    assert why in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("where", ["build", "compute_loss"])
def test_an_error_in_the_users_own_function_shows_their_traceback_only(project, fails, where):
    broken = "raise KeyError('theirs')"
    body = {"build": broken, "compute_loss": "pass"}[where]
    project(
        "net.py",
        f"""
        from torch import nn

        def loss():
            {broken}

        def build():
            {body}
            return nn.Linear(2, 2), loss
        """,
    )
    said = fails("examine", "net.py:build")
    assert "Traceback" in said
    assert "KeyError: 'theirs'" in said
    assert f"{where} failed" in said.replace("build() of net.py", "build")
    assert "undertow/" not in said

"""The plugin of pytest in a pytest of its own: cheap to load, and failures that say what is wrong."""

import subprocess
import sys
import textwrap
from importlib.metadata import entry_points

import pytest

TESTS = """
import pytest, torch
from torch import nn

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def deep(activation):
    torch.manual_seed(0)
    return nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(6, 6), activation())])


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid])
def test_flows(assert_gradients_flow, activation):
    net = deep(activation)
    assert_gradients_flow(net, lambda: net(X).square().mean(), ignore=["UT3"])


@pytest.mark.parametrize("lr", [0.1, 1e-8])
def test_trains(assert_trains, lr):
    import undertow
    assert_trains(undertow.Training(
        model=lambda: nn.Linear(6, 1),
        batches=[X],
        loss=lambda model, x: (model(x) - x.sum(1, keepdim=True)).square().mean(),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=lr),
    ), steps=30)
"""

LOADS = """
import sys

def test_nothing_large_is_loaded_until_a_fixture_is_asked_for(request):
    assert "undertow.integrations.pytest" in sys.modules
    assert not {"torch", "numpy", "rich", "undertow.testing"} & set(sys.modules)
"""


@pytest.fixture
def run(tmp_path):
    """A function that runs these tests, with the plugin as an installed entry point would load it."""

    def ran(tests):
        (tmp_path / "test_mine.py").write_text(textwrap.dedent(tests))
        about = tmp_path / "site" / "undertow_of_a_test-1.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: undertow_of_a_test\nVersion: 1\n")
        declared = any(each.value == "undertow.integrations.pytest" for each in entry_points(group="pytest11"))
        plugin = "" if declared else "[pytest11]\nundertow = undertow.integrations.pytest\n"
        (about / "entry_points.txt").write_text(plugin)
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import pytest; sys.exit(pytest.main(['-q']))"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    return ran


def test_starting_pytest_loads_nothing_large(run):
    code, said = run(LOADS)
    assert code == 0, said


def test_what_fails_says_what_is_wrong_and_hides_our_own_frames(run):
    code, said = run(TESTS)
    assert code == 1, said
    assert "2 failed, 2 passed" in said
    assert "gradients don't flow through Sequential: " in said
    assert "UT101 error" in said
    assert "more: undertow rule UT101" in said
    assert "this training doesn't train: its loss on fixed batches went from" in said
    assert "assertions.py" not in said

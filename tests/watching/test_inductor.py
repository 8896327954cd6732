"""Models compiled as people compile them, by torch's default backend: C++ on this machine."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config, exc
from torch._inductor.cpp_builder import get_cpp_compiler

import undertow
from watching.loops import Left, sgd, train
from watching.training import Attach, Watched, assert_same, loss_of, no_watcher, trained

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning",
    "ignore:.*:FutureWarning",
    "ignore:The .grad:UserWarning",
    # torch's compiler imports setuptools, which complains if another test has imported distutils before it.
    "ignore:Distutils was imported:UserWarning",
    "ignore:Setuptools is replacing distutils:UserWarning",
    # torch 2.6 says what of its own settings it leaves out, where recompilations are logged.
    "ignore:Skipping serialization of:UserWarning",
)


class Net(nn.Module):
    """Of a class of its own: dynamo leaves `nn.Sequential.forward` alone where a model is compiled in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


def whole(model: nn.Module) -> nn.Module:
    return torch.compile(model)


def full_graph(model: nn.Module) -> nn.Module:
    return torch.compile(model, fullgraph=True)


def in_place(model: nn.Module) -> nn.Module:
    model.compile(fullgraph=True)
    return model


def as_it_is(model: nn.Module) -> nn.Module:
    return model


HOW = [whole, full_graph, in_place]


@pytest.fixture(scope="module", autouse=True)
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiles in this process, into a folder of its own: what is compiled first serves all tests.

    Without vector instructions: to try which ones there are takes as long as all the rest.
    """
    try:
        get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        pytest.skip("there is no C++ compiler, and torch's default backend needs one (g++, or CXX=...)")
    with pytest.MonkeyPatch.context() as patch, config.patch({"compile_threads": 1, "cpp.vec_isa_ok": False}):
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        yield
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def fresh() -> None:
    forget()


def forget() -> None:
    """As if nothing had been compiled: dynamo begins anew, and finds what it makes in the folder."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def counted() -> dict[str, Counter[str]]:
    """What dynamo has counted, but for what came from its cache of compiled code."""
    return {kind: Counter(torch._dynamo.utils.counters[kind]) for kind in COUNTED}


COUNTED = ("stats", "frames", "recompiles", "graph_break", "unimplemented")


def loop_of(how: Callable[[nn.Module], nn.Module]) -> Callable[[Attach], Left]:
    def loop(attach: Attach) -> Left:
        model = how(Net())
        return train(attach, model, sgd(model))

    return loop


@pytest.mark.parametrize("every", [1, None])
@pytest.mark.parametrize("how", HOW)
def test_the_optimizers_side_changes_no_bit_and_compiles_nothing(
    how: Callable[[nn.Module], nn.Module], every: int | None, watched: Watched
) -> None:
    plain = trained(loop_of(how), no_watcher)
    needed = counted()
    forget()
    left, run = watched(loop_of(how), every=every)
    assert_same(left, plain)
    assert needed["stats"]["unique_graphs"] == 1  # the model was compiled, and once
    assert counted() == needed
    assert run.header["compiled"]
    assert (len(run), len(run.sites)) == (0, 0)
    assert np.isfinite(run.parameter_columns["update_norm"]).all()
    if every == 1:
        np.testing.assert_allclose(run.scalars["loss"], left["losses"], rtol=1e-6)
        assert run.parameter_steps.tolist() == list(range(7))
    assert not [event for event in run.events if event.kind == "trouble"]


@pytest.mark.parametrize("how", HOW)
def test_the_full_tape_on_request_is_the_models_own(how: Callable[[nn.Module], nn.Module], watched: Watched) -> None:
    trained(loop_of(how), no_watcher)
    needed = counted()
    forget()
    left, run = watched(loop_of(how), every=3, full_tape=True)
    assert counted() == needed
    eagerly, eager = watched(loop_of(as_it_is), every=3)
    assert run.steps["step"].tolist() == [0, 3, 6]
    assert [site.name for site in run.sites] == [site.name for site in eager.sites]
    assert {"first", "last"} <= {site.name for site in run.sites}
    np.testing.assert_allclose(run.columns["grad_output"], eager.columns["grad_output"], rtol=1e-4)
    np.testing.assert_allclose(left["losses"], eagerly["losses"], rtol=1e-5)


@pytest.mark.parametrize("full_tape", [None, True])
@pytest.mark.parametrize("how", HOW)
def test_a_watcher_that_comes_and_goes_provokes_no_recompilation(
    how: Callable[[nn.Module], nn.Module], full_tape: bool | None, tmp_path: Path
) -> None:
    """Hooks on modules are among what compiled code asks for before it runs."""
    torch.manual_seed(0)
    model = how(Net())
    optimizer = sgd(model)

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()

    steps(3)
    warm = counted()
    assert warm["stats"]["unique_graphs"] == 1
    with torch._dynamo.config.patch(error_on_recompile=True):
        with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=2, full_tape=full_tape):
            steps(5)
        steps(2)
    assert counted() == warm
    run = undertow.open_run(tmp_path / "first.undertow")
    assert len(run) == (3 if full_tape else 0)
    assert len(run.parameter_steps) == 3

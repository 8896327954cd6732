"""An ensemble comes back from its file as it was, and a file that is not one is refused with a reason."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from undertow.activations import ACTIVATIONS
from undertow.lab import Ensemble, Initializer
from undertow.lab.costs import COSTS
from undertow.lab.initializers import BIASES, WEIGHTS

N, SIZES = 14, [3, 4, 5, 2]
random = torch.Generator().manual_seed(1)
X, Y = torch.randn(N, SIZES[0], generator=random), torch.randint(SIZES[-1], (N,), generator=random)

SETTINGS = ("sizes", "members", "seed", "first_member", "activations", "initializer", "dtype", "epochs_trained")


def assert_same(some: Ensemble, other: Ensemble) -> None:
    assert [getattr(some, name) for name in SETTINGS] == [getattr(other, name) for name in SETTINGS]
    assert some.cost is other.cost
    for a, b in zip(some.layers, other.layers, strict=True):
        assert torch.equal(a.w, b.w)
        assert torch.equal(a.b, b.b)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    Ensemble(SIZES, 2, seed=4).save(tmp_path / "nets")
    return tmp_path / "nets"


ensembles = st.builds(
    lambda hidden, members, activations, cost, output, **options: Ensemble(
        [3, *hidden, 2],
        members,
        activation=activations[: len(hidden)],
        cost=cost,
        output=output if cost == "quadratic" else None,
        **options,
    ),
    hidden=st.lists(st.integers(1, 5), max_size=4),
    members=st.integers(1, 3),
    activations=st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=4, max_size=4),
    cost=st.sampled_from(sorted(COSTS)),
    output=st.sampled_from(sorted(ACTIVATIONS)),
    seed=st.integers(0, 2**70),
    first_member=st.integers(0, 9),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    initializer=st.builds(
        Initializer,
        weights=st.sampled_from(sorted(WEIGHTS)),
        scale=st.floats(-3, 3),
        biases=st.sampled_from([None, *BIASES]),
        bias_scale=st.floats(-3, 3),
    ),
)


@settings(deadline=None)
@given(nets=ensembles)
def test_load_of_save_is_the_same(nets: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("saving") / "nets"
    nets.save(path)
    assert_same(Ensemble.load(path), nets)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_training_goes_on_as_if_nothing_had_been(tmp_path: Path, dtype: torch.dtype) -> None:
    nets = Ensemble(SIZES, 3, seed=2, activation="tanh", dtype=dtype)
    nets.train((X, Y), 2, 4, 0.3, 0.1)
    nets.save(tmp_path / "nets")
    loaded = Ensemble.load(tmp_path / "nets")
    assert_same(loaded, nets)
    for each in (nets, loaded):
        each.train((X, Y), 2, 4, 0.3, 0.1)
    assert_same(loaded, nets)
    assert nets.epochs_trained == 4


def test_what_was_lost_is_saved_as_it_is(tmp_path: Path) -> None:
    nets = Ensemble(SIZES, 2)
    nets.layers[1].w[0] = torch.nan
    nets.layers[1].w[1, 0, 0] = -torch.inf
    nets.save(tmp_path / "nets")
    assert torch.equal(Ensemble.load(tmp_path / "nets").layers[1].w.nan_to_num(7.0), nets.layers[1].w.nan_to_num(7.0))


def test_numpys_whole_numbers_can_be_saved(tmp_path: Path) -> None:
    sizes = torch.tensor(SIZES).numpy()
    Ensemble(sizes, sizes[-1], seed=sizes[0]).save(tmp_path / "nets")
    assert Ensemble.load(tmp_path / "nets").sizes == SIZES


def test_a_string_is_a_path_too(tmp_path: Path) -> None:
    nets = Ensemble(SIZES)
    nets.save(str(tmp_path / "nets"))
    assert_same(Ensemble.load(str(tmp_path / "nets")), nets)


def test_other_programs_can_read_the_file(saved: Path) -> None:
    with safe_open(saved, framework="np") as file:
        assert file.get_tensor("layers.1.weight").shape == (2, 5, 4)
        assert json.loads(file.metadata()["undertow"])["sizes"] == SIZES


def test_a_function_cannot_be_saved(tmp_path: Path) -> None:
    nets = Ensemble(SIZES, initializer=Initializer(lambda g, n_out, n_in: g.normal(size=(n_out, n_in))))
    with pytest.raises(ValueError, match="function can't be saved: give the ensemble a named one"):
        nets.save(tmp_path / "nets")
    assert list(tmp_path.iterdir()) == []


def tampered(saved: Path, change: Callable[[dict, dict], object]) -> None:
    """Write the file again with settings or tensors changed."""
    with safe_open(saved, framework="pt") as file:
        said, tensors = json.loads(file.metadata()["undertow"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(said, tensors)
    save_file(tensors, saved, metadata={"undertow": json.dumps(said)})


DAMAGES: dict[str, Callable[[dict, dict], object]] = {
    "a layer is missing": lambda _said, tensors: tensors.pop("layers.1.bias"),
    "a layer too many": lambda _said, tensors: tensors.update({"layers.3.weight": torch.zeros(2, 2, 2)}),
    "another name": lambda _said, tensors: tensors.update({"layers.9.bias": tensors.pop("layers.1.bias")}),
    "another size": lambda _said, tensors: tensors.update({"layers.0.weight": torch.zeros(2, 4, 4)}),
    "a size that would stretch": lambda _said, tensors: tensors.update({"layers.0.weight": torch.zeros(1, 1, 3)}),
    "other sizes said": lambda said, _tensors: said.update(sizes=[3, 4, 4, 2]),
    "sizes beyond memory": lambda said, _tensors: said.update(sizes=[3, 10**9, 10**9, 2]),
    "more members said": lambda said, _tensors: said.update(members=3),
    "no format": lambda said, _tensors: said.pop("format"),
    "a format that is no number": lambda said, _tensors: said.update(format="one"),
    "no sizes": lambda said, _tensors: said.pop("sizes"),
    "sizes that are no list": lambda said, _tensors: said.update(sizes=3),
    "an unknown activation": lambda said, _tensors: said.update(activation=["swish", "swish"]),
    "an unknown cost": lambda said, _tensors: said.update(cost="hinge"),
    "an unknown dtype": lambda said, _tensors: said.update(dtype="int8"),
    "an unknown setting": lambda said, _tensors: said.update(depth=3),
    "an unknown initializer": lambda said, _tensors: said["initializer"].update(weights="xavier"),
    "no epochs": lambda said, _tensors: said.pop("epochs_trained"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_whose_parts_do_not_match_is_refused(saved: Path, damage: str) -> None:
    tampered(saved, DAMAGES[damage])
    with pytest.raises(ValueError, match="not an ensemble that undertow saved, or it is damaged") as refusal:
        Ensemble.load(saved)
    assert str(saved) in str(refusal.value)


def test_tampering_with_nothing_is_not_refused(saved: Path) -> None:
    """Or the test above would prove nothing."""
    tampered(saved, lambda said, tensors: (said, tensors))
    assert_same(Ensemble.load(saved), Ensemble(SIZES, 2, seed=4))


def test_a_newer_format_is_refused_with_the_way_out(saved: Path) -> None:
    tampered(saved, lambda said, _tensors: said.update(format=2, something="new", sizes="elsewhere"))
    with pytest.raises(ValueError, match="newer undertow: update this one"):
        Ensemble.load(saved)


@settings(deadline=None, max_examples=40)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("truncated") / "nets"
    Ensemble(SIZES, 2).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="damaged"):
        Ensemble.load(path)


class Trap:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_a_pickle_is_refused_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., None]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open("nets", "wb") as file:
        write({"layers.0.weight": Trap()}, file)
    with pytest.raises(ValueError, match="not an ensemble"):
        Ensemble.load("nets")
    assert os.listdir() == ["nets"]


@pytest.mark.parametrize("content", [b"", b"\x00", b"PK\x03\x04", b"undertow" * 100, b'{"format": 1}'])
def test_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match="not an ensemble"):
        Ensemble.load(tmp_path / "other")


def test_somebody_elses_safetensors_are_refused(tmp_path: Path) -> None:
    for metadata in (None, {"format": "pt"}, {"undertow": "{"}, {"undertow": "[]"}):
        save_file({"weight": torch.zeros(2)}, tmp_path / "other", metadata=metadata)
        with pytest.raises(ValueError, match="not an ensemble"):
            Ensemble.load(tmp_path / "other")


def test_no_file_at_all(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError, match="is not a file"):
            Ensemble.load(path)


def test_saving_over_a_file_replaces_it(saved: Path) -> None:
    other = Ensemble([2, 2], seed=9)
    other.save(saved)
    assert_same(Ensemble.load(saved), other)
    assert os.listdir(saved.parent) == ["nets"]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 1,000 bytes: the operating system itself stops the write half way."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too large"):
        Ensemble([30, 30]).save(tmp_path / "nets")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_file(saved: Path, request: pytest.FixtureRequest) -> None:
    before = saved.read_bytes()
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match="too large"):
        Ensemble([30, 30]).save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == ["nets"]


def test_the_file_is_as_readable_as_any_other(saved: Path) -> None:
    (saved.parent / "plain").write_text("")
    assert saved.stat().st_mode == (saved.parent / "plain").stat().st_mode

"""Ensembles on disk: one safetensors file, settings as JSON in its header. Reading one executes nothing."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch

from undertow.extras import needed
from undertow.files import write_whole
from undertow.lab.initializers import Initializer
from undertow.lab.networks import Networks

N = TypeVar("N", bound=Networks)

FORMAT = 1
FILE = "a file of an ensemble"
DTYPES = {str(d).removeprefix("torch."): d for d in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}


def save(nets: Networks, path: Path) -> None:
    """Write an ensemble, all or nothing.

    Raises:
        ValueError: its initializer is a function, which a file can't hold.
    """
    tensors: dict[str, torch.Tensor] = {}
    for l, layer in enumerate(nets.layers):
        tensors |= {f"layers.{l}.weight": layer.w, f"layers.{l}.bias": layer.b}
    metadata = {"undertow": json.dumps(_settings(nets))}
    write_whole(path, needed("safetensors.torch", "lab", FILE).save(tensors, metadata=metadata))


def load(path: Path, kind: type[N]) -> N:
    """Read networks that `save` wrote, on the CPU, as an instance of their class.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not one, is damaged, or comes from a newer version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: give the path that Ensemble.save was given")
    safetensors = needed("safetensors", "lab", FILE)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            settings: dict[str, Any] = json.loads((file.metadata() or {})["undertow"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        newer = settings.pop("format") > FORMAT
        nets = None if newer else _rebuilt(settings, tensors, kind)
    except (safetensors.SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not an ensemble that undertow saved, or it is damaged: {error}") from error
    if nets is None:
        raise ValueError(f"{path} was written by a newer undertow: update this one to read it")
    return nets


def _rebuilt(settings: dict[str, Any], tensors: dict[str, torch.Tensor], kind: type[N]) -> N:
    expected = _shapes(settings["sizes"], settings["members"])
    found = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        raise ValueError(f"its settings ask for tensors {expected}, but it holds {found}")
    dtype, epochs_trained = DTYPES[settings.pop("dtype")], settings.pop("epochs_trained")
    nets = kind(**settings | {"initializer": Initializer(**settings["initializer"])}, dtype=dtype)
    for l, layer in enumerate(nets.layers):
        layer.w.copy_(tensors[f"layers.{l}.weight"])
        layer.b.copy_(tensors[f"layers.{l}.bias"])
    nets.epochs_trained = epochs_trained
    return nets


def _shapes(sizes: list[int], members: int) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}
    for l, (n_in, n_out) in enumerate(pairwise(sizes)):
        shapes |= {f"layers.{l}.weight": [members, n_out, n_in], f"layers.{l}.bias": [members, 1, n_out]}
    return shapes


def _settings(nets: Networks) -> dict[str, Any]:
    recipe = nets.initializer
    if not isinstance(recipe.weights, str):
        raise ValueError("an initializer that is a function can't be saved: give the ensemble a named one")
    return {
        "format": FORMAT,
        "sizes": nets.sizes,
        "members": nets.members,
        "seed": nets.seed,
        "first_member": nets.first_member,
        **({} if nets.numbers is None else {"numbers": nets.numbers}),
        "activation": nets.activations[:-1],
        "output": nets.activations[-1],
        "cost": nets.cost.name,
        "initializer": vars(recipe),
        "dtype": str(nets.dtype).removeprefix("torch."),
        "epochs_trained": nets.epochs_trained,
    }

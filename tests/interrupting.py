"""Interrupt what goes on at any line of ours, and tell what it left changed."""

import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim import optimizer as stepping
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

import undertow

OURS = str(Path(undertow.__file__).parent)


def raising():
    raise KeyboardInterrupt


def signalling():
    signal.raise_signal(signal.SIGINT)


def interrupted(act, at, interrupt=raising):
    """Run ``act`` and interrupt it at the line of ours with this number.

    Returns:
        Lines of ours that were begun, and whether ``act`` ended in `KeyboardInterrupt`.
    """
    lines = 0

    def on_line(_, event, __):
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == at:
                interrupt()
        return on_line

    def on_call(frame, *_):
        return on_line if frame.f_code.co_filename.startswith(OURS) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        act()
    except KeyboardInterrupt:
        return lines, True
    finally:
        sys.settrace(before)
    return lines, False


HOOKS = ("forward_hooks", "forward_pre_hooks", "forward_hooks_with_kwargs", "forward_pre_hooks_with_kwargs")


def state(model, others=()):
    """Return everything that an examination could leave changed, as text and bytes, by name."""
    found = {
        "modes": [module.training for module in model.modules()],
        "hooks": [list(getattr(module, f"_{name}")) for module in model.modules() for name in HOOKS],
        "parameters": {name: _bits(p) for name, p in model.named_parameters()},
        "places": [(id(p), p.data_ptr(), p._version) for p in model.parameters()],
        "buffers": {name: (id(b), b._version if b.isnan().any() else 0, _bits(b)) for name, b in model.named_buffers()},
        "gradients": [(id(p.grad), _bits(p.grad)) for p in (*model.parameters(), *others)],
        "hooks on gradients": [len(p._post_accumulate_grad_hooks or ()) for p in model.parameters()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
    }
    return found | _surroundings()


def _surroundings():
    return {
        "python": random.getstate(),
        "numpy": str(np.random.get_state()[1].tolist()),  # noqa: NPY002  # the one that users draw from
        "torch": _bits(torch.get_rng_state()),
        "function modes": len(_get_current_function_mode_stack()),
        "dispatch modes": len(_get_current_dispatch_mode_stack()),
        "errors of NumPy": np.geterr(),
        "grad, inference": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "kernels": (torch._C._get_mkldnn_enabled(), torch._C._get_cudnn_enabled()),
        "hooks on steps": len(stepping._global_optimizer_pre_hooks),
        "signal": signal.getsignal(signal.SIGINT),
    }


def _bits(tensor):
    return None if tensor is None else tensor.detach().reshape(-1).view(torch.uint8).numpy().tobytes()


def changes(before, after):
    """Name what differs."""
    return [name for name in before if before[name] != after[name]]


class Restless(nn.Module):
    """Batch statistics, random numbers of three kinds, a buffer that is written and one that is exchanged."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.head = nn.Linear(8, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.full((2,), torch.nan))

    def forward(self, x):
        self.calls += 1
        self.last = x
        x = x + 0.1 * torch.randn_like(x) + random.random() + np.random.rand()  # noqa: NPY002  # what users do
        return self.head(self.body(x))


def restless():
    model, x = Restless(), torch.randn(10, 6)
    model.head.eval()
    model.body[0].weight.grad = torch.ones(8, 6)
    model.head.weight.register_post_accumulate_grad_hook(lambda p: p.data.zero_())
    return model, lambda: model(x).square().mean(), torch.optim.Adam(model.parameters()), ()


def recurrent():
    model = nn.LSTM(4, 5, batch_first=True)
    x = torch.randn(3, 6, 4)
    return model, lambda: model(x)[0].square().mean(), None, ()


def without_numbers():
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(5, 4)
    return model, lambda: (model(x) * 0 - 1).log().mean(), torch.optim.SGD(model.parameters(), 0.1), ()


def cut_off():
    model, x = nn.ModuleList([nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)]), torch.randn(5, 4)
    return model, lambda: model[2](model[1](model[0](x)).detach()).square().mean(), None, ()


def frozen():
    layers = [nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()) for _ in range(8)]
    model, x, y = nn.Sequential(*layers, nn.Linear(8, 3)), torch.randn(9, 8), torch.randint(3, (9,))
    return model, lambda: functional.cross_entropy(model(x), y), torch.optim.SGD(model.parameters(), 0.1), ()


class Codes(nn.Module):
    """Chooses rows of a table; mixes its examples; is held against a weight of somebody else's."""

    def __init__(self):
        super().__init__()
        self.encoder, self.codes = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.Embedding(8, 4)

    def forward(self, x):
        z = self.encoder(x).reshape(-1, 2, 4).cumsum(0).reshape(-1, 4)
        return z + self.codes(torch.cdist(z, self.codes.weight).argmin(-1))


def choosing():
    model, x, other = Codes(), torch.randn(6, 4), nn.Parameter(torch.ones(4))
    other.grad = torch.full((4,), 2.0)

    def compute_loss():
        out = model(x)
        return (out * other - 1).square().mean() + out.abs().mean()

    return model, compute_loss, torch.optim.AdamW([*model.parameters(), other]), (other,)


SUBJECTS = (restless, recurrent, without_numbers, cut_off, frozen, choosing)

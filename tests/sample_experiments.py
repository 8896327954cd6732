"""Experiments for tests of running them side by side; in a module of their own, which another process can import."""

import os
import signal

import torch


def product(data, tick, /, *, n):
    tick(1)
    torch.manual_seed(n)
    return {"n": n, "classes": data.n_classes, "drawn": torch.rand(3), "threads": torch.get_num_threads()}


def failing(_data, _tick, /):
    raise ZeroDivisionError("no such number")


def dying(_data, _tick, /):
    os.kill(os.getpid(), signal.SIGKILL)

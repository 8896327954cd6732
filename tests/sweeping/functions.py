"""Users' functions that the tests sweep over; one file, loaded by path as a user's would be."""

import os
import signal
import sys
import time
from pathlib import Path


def product(depth, eta=0.5, seed=0):
    return {"product": depth * eta, "seen": seed}


def noted(folder, number, seconds=0.0):
    """Leaves a mark for every call, so that a test can count them."""
    with Path(folder, f"{number}").open("a", encoding="utf-8") as file:
        file.write("x")
    time.sleep(seconds)
    return number


def failing(number, bad):
    if number in bad:
        raise ArithmeticError(f"no result for {number} <b>*here*</b>")
    return {"value": number}


def failing_once(folder, number):
    mark = Path(folder, f"{number}")
    if not mark.exists():
        mark.touch()
        raise OSError("not yet")
    return number


def killed(number, bad):
    if number in bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def killed_once(folder, number):
    mark = Path(folder, f"{number}")
    if number % 5 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def leaving(number):
    sys.exit(number)


def strange(number):
    return {"thing": object(), "number": number}


def long_text(number):
    return {"text": f"{number}" * 20_000}


def threads(number):
    import torch

    return {"threads": torch.get_num_threads(), "variable": os.environ.get("OMP_NUM_THREADS"), "number": number}


class OddError(Exception):
    def __str__(self):
        raise OSError("no words")


class OwnText(str):
    """A text that only this file knows how to make."""


def raised_surrogate():
    raise ValueError("half a pair: \udc80, and \x1b[31m red")


def raised_interrupt():
    raise KeyboardInterrupt


def raised_odd():
    raise OddError


def itself_recursive():
    held = []
    held.append(held)
    return {"value": held}


POISONS = {
    "surrogate": lambda: {"text": "\ud800", "\udfff name": 1},
    "huge": lambda: {"value": 10**5000},
    "own": lambda: {"value": OwnText("mine")},
    "nul": lambda: {"text": "a\0b"},
    "nan": lambda: {"value": float("nan")},
    "raised surrogate": raised_surrogate,
    "raised interrupt": raised_interrupt,
    "raised odd": raised_odd,
    "recursive": itself_recursive,
    "gone": lambda: os._exit(7),
}


def poisonous(kind):
    return POISONS[kind]() if kind in POISONS else {"value": 1}


def hanging(number, bad):
    if number in bad:
        time.sleep(1000)
    return number

"""examine under Ctrl-C, in several threads, and with a loss that writes to the model: no trace, or an error."""

import _thread
import gc
import random
import signal
import sys
import threading
from contextlib import nullcontext

import pytest
import torch
from torch import nn

import undertow
from interrupting import SUBJECTS, changes, interrupted, raising, restless, signalling, state
from undertow.examination import examine
from undertow.examination.interrupts import Interrupts

TRIES = 10
LAST = 150
"""Lines of ours at the end of an examination, where everything is put back: every fourth try is in them."""


@pytest.mark.parametrize("make", SUBJECTS)
@pytest.mark.parametrize("interrupt", [raising, signalling])
def test_an_interrupt_leaves_no_trace(make, interrupt):
    numbers = random.Random(f"{make.__name__} {interrupt.__name__}")

    def attempt(at):
        torch.manual_seed(0)
        model, compute_loss, optimizer, others = make()
        before = state(model, others)
        lines, ended = interrupted(lambda: examine(model, compute_loss, optimizer), at, interrupt)
        assert changes(before, state(model, others)) == [], f"line {at}"
        return lines, ended

    attempt(-1)  # loads what is loaded once
    lines, _ = attempt(-1)
    places = [numbers.randrange(lines - LAST if k % 4 == 0 else 1, lines) for k in range(TRIES)]
    assert sum(attempt(at)[1] for at in places) >= TRIES - 1  # the last line may be one that a signal comes after


def test_an_examination_can_be_interrupted():
    model, asked = nn.Linear(2, 1), []

    def compute_loss():
        asked.append(1)
        signal.raise_signal(signal.SIGINT)
        return model(torch.ones(3, 2)).sum()

    with pytest.raises(KeyboardInterrupt):
        examine(model, compute_loss, repeats=50)
    assert len(asked) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ours_and_hangs_can_be_interrupted():
    interrupts = Interrupts()
    interrupts.hold()
    try:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        interrupts.release()


def test_a_handler_of_the_users_is_called_and_stays():
    heard, model = [], nn.Linear(2, 1)
    own = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:

        def compute_loss():
            signal.raise_signal(signal.SIGINT)
            return model(torch.ones(3, 2)).square().mean()

        examine(model, compute_loss)
        assert len(heard) >= 1
        assert signal.getsignal(signal.SIGINT)(0, None) is None
    finally:
        signal.signal(signal.SIGINT, own)


def test_four_threads_examine_one_model():
    torch.manual_seed(0)
    model, compute_loss, optimizer, _ = restless()
    before, reports, switching = state(model), [], sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        threads = [
            threading.Thread(target=lambda: reports.append(examine(model, compute_loss, optimizer))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switching)
    assert changes(before, state(model)) == []
    assert len({str(report.run) for report in reports}) == 1
    assert len(reports) == 4


@pytest.mark.parametrize("collects", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_garbage_is_collected_as_before_and_while_the_loss_is_computed(collects, fails):
    model, seen = nn.Linear(2, 1), []

    def compute_loss():
        seen.append(gc.isenabled())
        return model(torch.ones(3, 2)).square().mean() / (1 // (not fails))

    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        with pytest.raises(ZeroDivisionError) if fails else nullcontext():
            examine(model, compute_loss)
        assert gc.isenabled() is collects
        assert set(seen) == {collects}
    finally:
        (gc.enable if before else gc.disable)()


def test_another_thread_may_train_meanwhile():
    model, other, errors = nn.Linear(2, 1), nn.Linear(2, 1), []
    optimizer = torch.optim.SGD(other.parameters(), 0.1)

    def train():
        try:
            other(torch.ones(1, 2)).sum().backward()
            optimizer.step()
        except RuntimeError as error:
            errors.append(error)

    def compute_loss():
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        return model(torch.ones(3, 2)).square().mean()

    before = other.weight.tolist()
    examine(model, compute_loss)
    assert not errors
    assert other.weight.tolist() != before


def halved(weight):
    weight.data.mul_(0.5)


def turned(weight):
    weight.data.copy_(weight.data.flip(0))


def written_by_numpy(weight):
    weight.detach().numpy()[0, 0] += 1e-4


def exchanged_within_a_row(weight):
    weight.data[3, [10, 90]] = weight.data[3, [90, 10]]


def exchanged_within_a_column(weight):
    weight.data[[3, 70], 10] = weight.data[[70, 3], 10]


@pytest.mark.parametrize(
    ("change", "size"),
    [
        (halved, (3, 4)),
        (turned, (3, 4)),
        (written_by_numpy, (3, 4)),
        *((change, (100, 99)) for change in (turned, written_by_numpy)),
        *((change, (100, 128)) for change in (exchanged_within_a_row, exchanged_within_a_column)),
    ],
)
def test_numbers_that_the_loss_writes_past_autograd_are_told(change, size):
    torch.manual_seed(0)
    model, x = nn.Linear(*size), torch.ones(5, size[0])

    def compute_loss():
        loss = model(x).square().mean()
        change(model.weight)
        return loss

    with pytest.raises(RuntimeError, match="changed weight in place"):
        examine(model, compute_loss)


@pytest.mark.parametrize("how", ["data", "parameter", "hook", "buffer"])
def test_what_the_loss_exchanges_is_put_back(how):
    torch.manual_seed(0)
    model, x, other = (
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)),
        torch.ones(5, 3),
        nn.Parameter(torch.ones(4, 3)),
    )

    def compute_loss():
        layer, norm = model
        if how == "data":
            layer.weight.data = torch.zeros(4, 3)
        elif how == "parameter":
            layer.weight = other
        elif how == "hook":
            layer.register_forward_hook(lambda *_: None)
        else:
            norm.running_mean = torch.ones(4)
        return model(x).square().mean()

    before = state(model)
    examine(model, compute_loss)
    assert changes(before, state(model)) == []


def test_the_lock_is_free_after_an_error():
    with pytest.raises(ZeroDivisionError):
        examine(nn.Linear(1, 1), lambda: 1 / 0)
    found = []
    thread = threading.Thread(target=lambda: found.append(examine(*restless()[:2])))
    thread.start()
    thread.join(20)
    assert len(found) == 1


def test_nothing_that_a_report_does_draws_random_numbers():
    report = undertow.examine(*restless()[:2])
    before = random.getstate()
    str(report), report._repr_html_(), report.to_dict()
    undertow.explain(report.run).text("a run")
    assert random.getstate() == before


def test_an_interrupt_from_outside_ends_a_loss_that_takes_its_time():
    model, started = nn.Linear(2, 1), threading.Event()

    def compute_loss():
        started.set()
        while True:
            threading.Event().wait(0.01)

    threading.Thread(target=lambda: started.wait() and _thread.interrupt_main()).start()
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        examine(model, compute_loss)
    assert changes(before, state(model)) == []

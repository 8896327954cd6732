"""Small trainings that the rules of the graph, the loss and the data are tried on, as `examine` takes them."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.nn import functional

from undertow import examine, explain, open_run, watch
from undertow.record import Severity

Build = Callable[[], tuple]


class Examples:
    """Collects, for every code, trainings at which it must be a warning or an error, and those at which it must not.

    A test file that has them under the name EXAMPLES imports of the four tests at the end of this module those that it
    wants; conftest.py hands each its examples. ``by_code`` is what the registry's test looks for under the name CASES.
    """

    def __init__(self) -> None:
        self.by_code: dict[str, tuple[list[Build], list[Build]]] = {}
        self.unwatched: set[Build] = set()

    def fires(self, code: str) -> Callable[[Build], Build]:
        return self._collect(code, 0)

    def silent(self, code: str) -> Callable[[Build], Build]:
        return self._collect(code, 1)

    def _collect(self, code: str, place: int) -> Callable[[Build], Build]:
        def take(build: Build) -> Build:
            self.by_code.setdefault(code, ([], []))[place].append(build)
            return build

        return take

    def all(self, place: int) -> list[tuple[str, Build]]:
        return [(code, build) for code, both in self.by_code.items() for build in both[place]]

    def some(self, place: int) -> list[tuple[str, Build]]:
        """A quarter of them, for a watched run each, without those of which an examination alone knows."""
        return [
            case for case in self.all(place)[::4] if case[0] not in self.unwatched and case[1] not in self.unwatched
        ]


def alarms(build: Build) -> dict[str, str]:
    """What is said of a training that is a warning or an error, by code."""
    torch.manual_seed(0)
    found = examine(*build()).findings
    return {each.code: each.message for each in found if each.severity is not Severity.NOTE}


def mlp(n_in=6, n_out=4, act=nn.ReLU, width=16):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n_in, width), act(), nn.Linear(width, n_out))


def batch(n=12, n_in=6, classes=4):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, n_in, generator=g), torch.randint(0, classes, (n,), generator=g)


def adam(model):
    return torch.optim.Adam(model.parameters(), 1e-3)


class Func(nn.Module):
    """A network with a function behind it."""

    def __init__(self, net, after, **more):
        super().__init__()
        self.net, self.after = net, after
        for name, value in more.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.after(self.net(x))


def classified(after, loss, n_out=4, labels=None):
    model, (x, y) = Func(mlp(n_out=n_out), after), batch(classes=max(n_out, 2))
    y = y if labels is None else labels(y)
    return model, lambda: loss(model(x), y), adam(model)


class Attends(nn.Module):
    def __init__(self, tokens=5):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v, self.head = (nn.Linear(6, 6) for _ in range(4))
        self.tokens = tokens

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(-1, -2)
        return self.head(scores.softmax(-1) @ self.v(x)).mean(1)


def regressed(loss, shape=(12,), after=lambda z: z, n_out=1, n=12):
    model, (x, _) = Func(mlp(n_out=n_out), after), batch(n)
    y = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    return model, lambda: loss(model(x), y), adam(model)


def cross_entropy_of(model, x=None, optimizer=None):
    drawn, y = batch()
    x = drawn if x is None else x
    return model, lambda: functional.cross_entropy(model(x), y), optimizer or adam(model)


def normed(norm, n=1, size=6):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    x, y = torch.randn(n, 3, size, size), torch.randint(0, 4, (n,))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


class Sequence(nn.Module):
    def __init__(self, kind=nn.LSTM, before=lambda x: x, after=lambda h: h[-1], **options):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head, self.before, self.after = kind(6, 8, **options), nn.Linear(8, 4), before, after

    def forward(self, x):
        return self.head(self.after(self.rnn(self.before(x))[0]))


def sequences(model, n=12, steps=5, labels=None):
    g = torch.Generator().manual_seed(2)
    x = torch.randn(n, steps, 6, generator=g)
    y = torch.randint(0, 4, labels or (n,), generator=g)
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


def watched_alarms(build: Build, steps: int = 60) -> dict[str, str]:
    """The same of a training that was watched for some steps."""
    torch.manual_seed(0)
    model, compute_loss, optimizer = build()
    with TemporaryDirectory() as folder:
        path = Path(folder, "run.undertow")
        with watch(model, optimizer, path=path, every=5) as watcher:
            for _ in range(steps):
                optimizer.zero_grad()
                loss = compute_loss()
                loss.backward()
                watcher.log(loss=loss)
                optimizer.step()
        found = explain(open_run(path)).findings
    return {each.code: each.message for each in found if each.severity is not Severity.NOTE}


def test_fires(firing):
    code, build = firing
    said = alarms(build)
    assert code in said, said


def test_stays_silent(healthy):
    code, build = healthy
    said = alarms(build)
    assert code not in said, said


def test_fires_in_a_watched_run(firing_watched):
    code, build = firing_watched
    said = watched_alarms(build)
    assert code in said, said


def test_stays_silent_in_a_watched_run(healthy_watched):
    code, build = healthy_watched
    said = watched_alarms(build)
    assert code not in said, said

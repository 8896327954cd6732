"""Set-ups of other kinds than the rules' own tests have, each beside its mended twin: the cause is named first."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rules.loops import findings, plainly, record
from undertow.examination import examine
from undertow.record import Severity


def seeded(step: int, *size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(step))


def labelled(step: int, rows: int = 64) -> tuple[Tensor, Tensor]:
    x = seeded(step, rows, 16)
    return x, x[:, :4].argmax(1)


def perceptron(*sizes: int) -> nn.Sequential:
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def adam(net: nn.Module, lr: float = 2e-3, **settings: object) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=lr, **settings)


def decay_forgets(broken: bool):
    """AdamW at 10 and 3e-3: 3 % of the weights go in every step, though the loss pulls harder."""
    net = perceptron(16, 32, 32, 4)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=10.0 if broken else 0.05)
    return net, lambda step: functional.cross_entropy(net(labelled(step)[0]), labelled(step)[1]), optimizer


class Quantised(nn.Module):
    """An autoencoder whose codes all lie far from what its encoder makes: the nearest is one for all."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.encoder, self.decoder, self.codes = perceptron(16, 32, 8), perceptron(8, 32, 16), nn.Embedding(32, 8)
        nn.init.normal_(self.codes.weight, std=spread)

    def forward(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        q = self.codes(torch.cdist(z, self.codes.weight).argmin(1))
        commitment = functional.mse_loss(q, z.detach()) + functional.mse_loss(z, q.detach())
        return functional.mse_loss(self.decoder(z + (q - z).detach()), x) + commitment


def one_code(broken: bool):
    net = Quantised(20.0 if broken else 0.3)
    return net, lambda step: net(seeded(step, 64, 16)), adam(net)


class Tied(nn.Module):
    """A language model whose embedding is its last layer, too, started as embeddings are."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.table, self.mix, self.norm = nn.Embedding(120, 48), nn.GRU(48, 48, batch_first=True), nn.LayerNorm(48)
        nn.init.normal_(self.table.weight, std=spread)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(self.mix(self.table(tokens))[0]) @ self.table.weight.T


def first_loss(broken: bool):
    net = Tied(2.5 if broken else 0.02)

    def loss(step: int) -> Tensor:
        tokens = torch.randint(0, 120, (16, 10), generator=torch.Generator().manual_seed(step))
        return functional.cross_entropy(net(tokens).flatten(0, 1), ((3 * tokens + 1) % 120).flatten())

    return net, loss, adam(net, 1e-3)


EXAMINED = {"UT409": decay_forgets, "UT204": one_code, "UT706": first_loss}


@pytest.mark.parametrize("code", EXAMINED)
@pytest.mark.parametrize("broken", [True, False])
def test_examine_names_the_cause_first(code, broken):
    torch.manual_seed(0)
    net, loss, optimizer = EXAMINED[code](broken)
    found = [each for each in examine(net, lambda: loss(0), optimizer).findings if each.severity is not Severity.NOTE]
    assert [each.code for each in found[:1]] == [code] * broken
    assert all(each.follows_from == code for each in found[1:])


def test_a_head_of_zeros_is_not_called_dominated_by_decay():
    net = perceptron(16, 32, 32, 4)
    nn.init.zeros_(net[-1].weight)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    x, y = labelled(0)
    assert "UT409" not in {
        each.code for each in examine(net, lambda: functional.cross_entropy(net(x), y), optimizer).findings
    }


def watched(folder, make, broken: bool, steps: int = 40) -> list:
    """Faults of a run, the first one first."""
    torch.manual_seed(0)
    net, loss, optimizer = make(broken)
    return list(
        findings(record(folder, net, optimizer, plainly(loss, optimizer, optimizer.zero_grad, steps), every=4)).values()
    )


class Heads(nn.Module):
    """Three heads on one trunk, in a dictionary that torch doesn't look into."""

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        heads = {name: nn.Linear(32, 4) for name in "abc"}
        self.trunk, self.heads = nn.Linear(16, 32), heads if hidden else nn.ModuleDict(heads)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.trunk(x))
        return sum(head(h) for head in self.heads.values())


def hidden_heads(broken: bool):
    net = Heads(broken)
    return net, lambda step: functional.cross_entropy(net(labelled(step)[0]), labelled(step)[1]), adam(net)


class Anew(nn.Module):
    """A layer that is made in every forward pass."""

    def __init__(self, anew: bool) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(16, 32), None if anew else nn.Linear(32, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.middle or nn.Linear(32, 32)
        return self.last(torch.relu(middle(torch.relu(self.first(x)))))


def made_anew(broken: bool):
    net = Anew(broken)
    return net, lambda step: functional.cross_entropy(net(labelled(step)[0]), labelled(step)[1]), adam(net)


def large_inputs(broken: bool):
    """Pixels from 0 to 255, and plain SGD."""
    net = perceptron(16, 32, 32, 4)

    def loss(step: int) -> Tensor:
        x, y = labelled(step)
        return functional.cross_entropy(net(127 * (x.tanh() + 1) if broken else x), y)

    return net, loss, torch.optim.SGD(net.parameters(), lr=0.05)


def large_targets(broken: bool):
    net = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 1))
    prices = lambda x: 20_000 + 5_000 * x[:, :1]  # noqa: E731

    def loss(step: int) -> Tensor:
        x = seeded(step, 64, 16)
        return functional.smooth_l1_loss(net(x), prices(x) if broken else (prices(x) - 20_000) / 5_000)

    return net, loss, adam(net)


def sure_of_wrong(broken: bool):
    """A last layer that starts a hundred times too large, under SGD."""
    net = perceptron(16, 32, 32, 4)
    with torch.no_grad():
        net[-1].weight.mul_(100 if broken else 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return net, lambda step: functional.cross_entropy(net(labelled(step)[0]), labelled(step)[1]), optimizer


def costs_behind_relu(broken: bool):
    """A critic that ends in ReLU and is to return costs."""
    net = perceptron(16, 32, 32, 1)
    net = nn.Sequential(*net, nn.ReLU()) if broken else net

    def loss(step: int) -> Tensor:
        x = seeded(step, 64, 16)
        return functional.mse_loss(net(x), -x.square().mean(1, keepdim=True))

    return net, loss, adam(net)


WATCHED = {
    "layers in a dictionary": ("UT502", hidden_heads),
    "layers made in forward": ("UT502", made_anew),
    "pixels": ("UT706", large_inputs),
    "prices": ("UT706", large_targets),
    "a sure start": ("UT706", sure_of_wrong),
    "costs behind ReLU": ("UT705", costs_behind_relu),
    "decay that forgets": ("UT409", decay_forgets),
}


@pytest.mark.parametrize("name", WATCHED)
@pytest.mark.parametrize("broken", [True, False])
def test_a_run_names_the_cause_first(tmp_path, name, broken):
    code, make = WATCHED[name]
    assert [each.code for each in watched(tmp_path, make, broken)[:1]] == [code] * broken


class Pair(nn.Module):
    """Two views are brought to agree, as in SimSiam."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
        self.predictor = nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 32))


@pytest.mark.parametrize("broken", [True, False])
def test_two_outputs_that_learn_to_agree_are_told_if_they_collapse(tmp_path, broken):
    def make(through: bool):
        net = Pair()

        def loss(step: int) -> Tensor:
            x = seeded(step, 128, 16)
            views = [x + 0.1 * seeded(1000 * k + step, 128, 16) for k in (1, 2)]
            a, b = map(net.encoder, views)
            held = (a, b) if through else (a.detach(), b.detach())
            likeness = functional.cosine_similarity
            return -(likeness(net.predictor(a), held[1]) + likeness(net.predictor(b), held[0])).mean() / 2

        return net, loss, torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)

    assert [each.code for each in watched(tmp_path, make, broken, 140)] == ["UT205"] * broken


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.Sigmoid())
        self.critic = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))


@pytest.mark.parametrize("broken", [True, False])
def test_a_generator_that_no_optimizer_holds_beside_a_critic_that_two_hold(tmp_path, broken):
    torch.manual_seed(0)
    net = Gan()
    mine = torch.optim.Adam((net.critic if broken else net.generator).parameters(), lr=1e-3)
    its = torch.optim.Adam(net.critic.parameters(), lr=1e-3)
    judged = functional.binary_cross_entropy_with_logits

    def loop():
        for step in range(40):
            real, noise = seeded(step, 32, 16).sigmoid(), seeded(1000 + step, 32, 8)
            its.zero_grad()
            scores = net.critic(torch.cat([real, net.generator(noise).detach()]))
            judged(scores, torch.cat([torch.ones(32, 1), torch.zeros(32, 1)])).backward()
            its.step()
            mine.zero_grad()
            loss = judged(net.critic(net.generator(noise)), torch.ones(32, 1))
            loss.backward()
            yield loss
            mine.step()

    found = findings(record(tmp_path, net, [mine, its], loop(), every=4))
    assert list(found) == ["UT407"] * broken


class Scaled(nn.Module):
    """A token that is the same for every example reads the data through a branch scaled down, as in CaiT."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.reads, self.head = perceptron(16, 32, 32, 32), perceptron(32, 32, 4)
        self.token, self.scale = nn.Parameter(torch.randn(1, 32)), nn.Parameter(torch.full((32,), scale))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.token + self.scale * self.reads(x))


def test_examples_that_are_alike_for_ten_steps_only_are_a_note():
    torch.manual_seed(0)
    net = Scaled(1e-5)
    x, y = labelled(0)
    loss = lambda: functional.cross_entropy(net(x), y)  # noqa: E731
    alike = {
        learns: next(each for each in examine(net, loss, adam(net, lr)).findings if each.code == "UT205")
        for learns, lr in ((True, 1e-2), (False, 1e-9))
    }
    assert alike[True].severity is Severity.NOTE
    assert alike[False].severity is not Severity.NOTE

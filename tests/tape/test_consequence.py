"""Severity follows from what becomes of the network: units part, layers begin to learn, branches open."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine
from undertow.record import Severity


def codes(report, *wanted):
    """Of each code the worst severity: findings come worst first."""
    return {f.code: f.severity for f in reversed(report.findings) if f.code in wanted}


# --- UT302: units


class Kernel(nn.Module):
    """A layer that keeps its weights as [inputs, units], as GPT-2's."""

    def __init__(self, inputs, units):
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.randn(inputs, units) / inputs**0.5),
            nn.Parameter(torch.zeros(units)),
        )

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


def plain(kind):
    return nn.Sequential(kind(8, 12), nn.Tanh(), kind(12, 12), nn.Tanh(), kind(12, 3)), torch.randn(20, 8)


def convolutions(kind):
    layers = [kind(2, 6, 3), nn.Tanh(), kind(6, 6, 3), nn.Tanh(), kind(6, 3, 3)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.randn(20, 2, 9, 9)


LAYERS = {
    "linear": lambda: plain(nn.Linear),
    "kept the other way round": lambda: plain(Kernel),
    "convolutions": lambda: convolutions(nn.Conv2d),
    "transposed convolutions": lambda: convolutions(nn.ConvTranspose2d),
}


def weights(net):
    return [p for p in net.parameters() if p.dim() > 1]


def judged(net, x, dtype=torch.float32):
    y = torch.arange(len(x)) % 3
    net, x = net.to(dtype), x.to(dtype)
    return examine(net, lambda: functional.cross_entropy(net(x).float(), y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", LAYERS)
def test_units_that_are_pulled_alike_stay_alike(kind, seed, dtype):
    torch.manual_seed(seed)
    net, x = LAYERS[kind]()
    for w in weights(net):
        nn.init.constant_(w, 0.2)
    for bias in (p for p in net.parameters() if p.dim() == 1):
        nn.init.zeros_(bias)
    assert codes(judged(net, x, dtype), "UT302") == {"UT302": Severity.ERROR}
    # The consequence: ten steps of descent, and they are as alike as they were.
    net = net.float()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(10):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), torch.arange(len(x)) % 3).backward()
        optimizer.step()
    first = weights(net)[0]
    units = 1 if kind in ("kept the other way round", "transposed convolutions") else 0
    assert (first - first.mean(units, keepdim=True)).norm() < 1e-3 * first.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", LAYERS)
def test_units_with_random_ones_behind_them_part(kind, which, dtype):
    torch.manual_seed(0)
    net, x = LAYERS[kind]()
    nn.init.constant_(weights(net)[which], 0.1)
    assert codes(judged(net, x, dtype), "UT302") == {"UT302": Severity.NOTE}
    net, units = net.float(), 1 if kind in ("kept the other way round", "transposed convolutions") else 0
    functional.cross_entropy(net(x), torch.arange(len(x)) % 3).backward()
    first = weights(net)[which].detach() - 0.1 * weights(net)[which].grad
    assert (first - first.mean(units, keepdim=True)).norm() > 0


@pytest.mark.parametrize("kind", LAYERS)
def test_random_weights_are_no_symmetry(kind):
    torch.manual_seed(0)
    assert codes(judged(*LAYERS[kind]()), "UT302") == {}


@pytest.mark.parametrize("shape", [(1, 6), (7, 6)])
def test_rows_of_an_embedding_are_no_units(shape):
    torch.manual_seed(0)
    table = nn.Embedding(*shape)
    nn.init.constant_(table.weight, 0.3)
    net = nn.Sequential(table, nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    ids = torch.zeros(12, dtype=torch.long)
    assert codes(examine(net, lambda: functional.cross_entropy(net(ids), ids)), "UT302") == {}


@pytest.mark.parametrize("out", [1, 4])
def test_weights_in_a_second_derivative_are_judged_as_their_layers(out):
    torch.manual_seed(0)
    critic, x = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, out)), torch.randn(12, 6)

    def penalty():
        z = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(critic(z).sum(), z, create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean() + critic(x).mean()

    assert codes(examine(critic, penalty), "UT302") == {}


def test_one_input_channel_of_a_transposed_convolution():
    torch.manual_seed(0)
    net = nn.Sequential(nn.ConvTranspose2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3), nn.Flatten(), nn.Linear(108, 3))
    assert codes(judged(net, torch.randn(12, 1, 6, 6)), "UT302") == {}


def test_alike_blocks_are_said_once():
    net = nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(8, 8), nn.Tanh())), nn.Linear(8, 3))
    for w in weights(net):
        nn.init.constant_(w, 0.2)
    for bias in (p for p in net.parameters() if p.dim() == 1):
        nn.init.zeros_(bias)
    report = judged(net, torch.randn(20, 8))
    (found,) = (each for each in report.findings if each.code == "UT302" and each.severity is Severity.ERROR)
    assert found.evidence["alike"] == len(found.sites) > 3
    assert "The same holds for layer" in found.message


# --- UT104 and UT105: progress


class Read(nn.Module):
    """A token that reads a front through a small factor, as in CaiT."""

    def __init__(self, factor, width=24, front=4):
        super().__init__()
        layers = (m for _ in range(front) for m in (nn.Linear(width, width), nn.LayerNorm(width), nn.GELU()))
        self.front, self.read = nn.Sequential(*layers), nn.Linear(width, width)
        self.token, self.scale = nn.Parameter(torch.randn(width)), nn.Parameter(torch.full((width,), factor))
        self.back = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 10))

    def forward(self, x):
        return self.back(self.token + self.scale * self.read(self.front(x)))


ADAPTIVE = {
    "AdamW": lambda ps: torch.optim.AdamW(ps, 1e-3),
    "Adam": lambda ps: torch.optim.Adam(ps, 2e-3),
    "RMSprop": lambda ps: torch.optim.RMSprop(ps, 1e-3),
    "NAdam": lambda ps: torch.optim.NAdam(ps, 1e-3),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [1e-5, 1e-6])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_front_behind_a_small_factor_is_not_frozen_if_that_learns(name, factor, dtype):
    torch.manual_seed(2)
    net, x, y = Read(factor).to(dtype), torch.randn(48, 24, dtype=dtype), torch.randint(0, 10, (48,))
    optimizer = ADAPTIVE[name](net.parameters())
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    report = examine(net, lambda: functional.cross_entropy(net(x), y), optimizer)
    assert codes(report, "UT104").get("UT104", Severity.NOTE) is Severity.NOTE
    assert all(torch.equal(value, before[0][key]) for key, value in net.state_dict().items())
    assert optimizer.state_dict() == before[1]


def test_several_optimizers_look_ahead_together():
    torch.manual_seed(2)
    net, x, y = Read(1e-5), torch.randn(48, 24), torch.randint(0, 10, (48,))
    front = torch.optim.AdamW(net.front.parameters(), 1e-3)
    rest = torch.optim.Adam([p for n, p in net.named_parameters() if not n.startswith("front")], 1e-3)
    report = examine(net, lambda: functional.cross_entropy(net(x), y), [front, rest])
    assert codes(report, "UT104") == {"UT104": Severity.NOTE}
    assert report.run.header["ahead"]["front"] > 0.005


def test_it_is_frozen_under_plain_descent():
    """There the factor learns no faster than all else: after ten steps nothing has changed."""
    torch.manual_seed(2)
    net, x, y = Read(1e-6), torch.randn(48, 24), torch.randint(0, 10, (48,))
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    report = examine(net, lambda: functional.cross_entropy(net(x), y), optimizer)
    (found,) = (each for each in report.findings if each.code == "UT104")
    assert found.severity is Severity.ERROR
    assert found.evidence["share later"] < 0.005
    assert found.evidence["steps later"] == 10


def sigmoids(depth=8, width=16):
    torch.manual_seed(0)
    layers = (m for _ in range(depth) for m in (nn.Linear(width, width), nn.Sigmoid()))
    return nn.Sequential(*layers, nn.Linear(width, 4)), torch.randn(32, width), torch.randint(0, 4, (32,))


def test_without_an_optimizer_it_is_a_note():
    net, x, y = sigmoids()

    def compute_loss():
        return functional.cross_entropy(net(x), y)

    assert codes(examine(net, compute_loss), "UT104") == {"UT104": Severity.NOTE}
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    assert codes(examine(net, compute_loss, optimizer), "UT104") == {"UT104": Severity.ERROR}


def test_a_rate_that_still_warms_up_is_taken_for_what_it_leads_to():
    torch.manual_seed(2)
    net, x, y = Read(1e-5), torch.randn(48, 24), torch.randint(0, 10, (48,))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 1000)
    report = examine(net, lambda: functional.cross_entropy(net(x), y), optimizer)
    assert codes(report, "UT104") == {"UT104": Severity.NOTE}


def test_a_loss_that_cannot_be_computed_so_often_is_no_trouble():
    net, x, y = sigmoids()
    batches = iter([1, 2])

    def compute_loss():
        next(batches)
        return functional.cross_entropy(net(x), y)

    report = examine(net, compute_loss, torch.optim.SGD(net.parameters(), 0.1))
    assert codes(report, "UT104") == {"UT104": Severity.ERROR}
    assert "ahead" not in report.run.header


@pytest.mark.parametrize("make", [lambda ps: torch.optim.Adam(ps, 1e-3), lambda ps: torch.optim.SGD(ps, 0.1)])
def test_what_the_optimizer_does_not_hold_is_not_called_frozen(make):
    """A generator's loss goes through a discriminator that another optimizer trains."""
    torch.manual_seed(0)
    generator = nn.Sequential(*(m for _ in range(4) for m in (nn.Linear(12, 12), nn.ReLU())), nn.Linear(12, 6))
    other = nn.Sequential(nn.Linear(6, 12), nn.LeakyReLU(0.2), nn.Linear(12, 12), nn.LeakyReLU(0.2), nn.Linear(12, 1))
    for layer in (*generator, *other):
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    gan, z = nn.ModuleDict({"generator": generator, "discriminator": other}), torch.randn(32, 12)

    def compute_loss():
        return functional.binary_cross_entropy_with_logits(other(generator(z)), torch.ones(32, 1))

    report = examine(gan, compute_loss, make(generator.parameters()))
    assert codes(report, "UT104", "UT105") == {}
    assert examine(gan, compute_loss, make(other.parameters())).findings is not None


# --- UT106: branches


class Attention(nn.Module):
    """Keys that several layers make, in front of a softmax over nearly equal logits."""

    def __init__(self, width, fused, deep):
        super().__init__()
        self.norm, self.fused, self.deep = nn.LayerNorm(width), fused, deep
        self.q, self.k, self.v = (self._made(width) if deep == name else nn.Linear(width, width) for name in "qkv")
        self.out = nn.Linear(width, width)

    def _made(self, width):
        return nn.Sequential(
            *(m for _ in range(4) for m in (nn.Linear(width, width), nn.GELU())), nn.Linear(width, width)
        )

    def forward(self, x):
        h = self.norm(x)
        q, k, v = self.q(h), self.k(h), self.v(h)
        if self.fused:
            return x + self.out(functional.scaled_dot_product_attention(q, k, v))
        return x + self.out((q @ k.transpose(1, 2) / 8).softmax(-1) @ v)


@pytest.mark.parametrize("std", [0.02, 0.05])
@pytest.mark.parametrize("deep", ["q", "k"])
@pytest.mark.parametrize("fused", [False, True])
def test_queries_and_keys_are_no_starved_branch(fused, deep, std):
    torch.manual_seed(0)
    blocks = [Attention(32, fused, deep) for _ in range(2)]
    net = nn.Sequential(nn.Linear(8, 32), *blocks, nn.LayerNorm(32), nn.Linear(32, 5))
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
    x, y = torch.randn(16, 10, 8), torch.randint(0, 5, (16,))
    assert codes(examine(net, lambda: functional.cross_entropy(net(x).mean(1), y)), "UT106") == {}


def test_values_and_other_branches_still_are():
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(8, 16), nn.Linear(16, 3)
            self.side = nn.Sequential(*(m for _ in range(8) for m in (nn.Linear(16, 16), nn.Sigmoid())))

        def forward(self, x):
            h = torch.tanh(self.first(x))
            return self.head(h + self.side(h))

    net, x = Net(), torch.randn(32, 8)
    report = examine(net, lambda: functional.cross_entropy(net(x), torch.arange(32) % 3))
    assert codes(report, "UT106") == {"UT106": Severity.NOTE}  # of networks with a way around all learned


@pytest.mark.parametrize("gated", [False, True])
def test_a_branch_that_makes_a_gate_is_a_note(gated):
    """Depthwise layers of small weights, as in FocalNet's modulation; added on they are a branch like any other."""
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.query, self.out, self.head = (nn.Linear(16, 16) for _ in range(4))
            self.gate = nn.Sequential(*(m for _ in range(5) for m in (nn.Linear(16, 16), nn.GELU())))

        def forward(self, x):
            h = self.first(x)
            gate = self.gate(h)
            return self.head(h + self.out(self.query(h) * gate if gated else self.query(h) + gate))

    net, x = Net(), torch.randn(24, 16)
    for layer in net.gate:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.05)
    report = examine(net, lambda: functional.cross_entropy(net(x), torch.arange(24) % 16))
    (found,) = (finding for finding in report.findings if finding.code == "UT106")
    assert found.severity is Severity.NOTE
    assert ("ends in a gate" in found.message) is gated


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("steps", [4, 5, 6, 7, 12])
def test_through_time_there_are_no_branches(kind, steps):
    for seed in range(4):
        torch.manual_seed(seed)
        net = nn.ModuleList([kind(5, 10), nn.Linear(10, 5)])
        x = torch.randn(steps, 4, 5)
        assert codes(examine(net, lambda net=net, x=x: net[1](net[0](x)[0][-1]).square().sum()), "UT106") == {}


# --- UT501 and UT103: what is told of the facts


class Pooler(nn.Module):
    def __init__(self, join):
        super().__init__()
        self.body, self.pooler, self.head, self.join = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2), join

    def forward(self, x):
        h = torch.tanh(self.body(x))
        return self.head(self.join(h, torch.tanh(self.pooler(h))))


@pytest.mark.parametrize(
    ("join", "severity", "said"),
    [
        (lambda h, _: h, Severity.NOTE, "The loss is not computed from it"),
        (lambda h, p: h + p.detach(), Severity.ERROR, "cut off by .detach() or .data"),
        (lambda h, p: h[p.argmax(-1)], Severity.ERROR, "cut off by argmax"),
        (lambda h, p: h * p.mean().item(), Severity.WARNING, "leave torch"),
    ],
)
def test_unreached_parameters_matter_as_much_as_the_loss_needs_them(join, severity, said):
    torch.manual_seed(0)
    net, x = Pooler(join), torch.randn(6, 4)
    (found,) = (f for f in examine(net, lambda: net(x).square().mean()).findings if f.code == "UT501")
    assert found.severity is severity
    assert said in found.message
    assert found.where == "pooler.weight, pooler.bias"


def test_nan_in_the_data_is_the_datas():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(16, 6)
    x[3, 2] = torch.nan
    (found,) = (f for f in examine(net, lambda: net(x).square().mean()).findings if f.code == "UT103")
    assert found.message.startswith("An input holds inf or nan already")
    assert found.where == "the inputs"
    assert found.source.startswith(__file__)


def test_lines_of_source_are_the_users():
    """Modes of ours stand between the user's line and torch."""
    net, x, y = sigmoids()
    report = examine(net, lambda: functional.cross_entropy(net(x), y))
    sources = {site.source for site in report.run.sites} | {found.source for found in report.findings}
    assert sources - {""}
    assert not any("/undertow/" in source for source in sources)

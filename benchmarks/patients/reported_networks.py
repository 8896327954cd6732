"""Networks and data of trainings that were reported, each with the place of its fault."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from patients.networks import adversarial
from patients.ward import Data


def _split(*columns: Tensor, held: int = 300) -> Data:
    x, y = columns
    return Data(x[:-held], y[:-held], x[-held:], y[-held:])


class Turned(nn.Module):
    """A network over sequences that takes time first, and how it comes by that."""

    def __init__(self, how: str, attentive: bool = False) -> None:
        super().__init__()
        self.how, self.attentive = how, attentive
        if attentive:
            self.given, self.place = nn.Linear(8, 16), nn.Parameter(0.1 * torch.randn(8, 1, 16))
            self.body: nn.Module = nn.TransformerEncoderLayer(16, 2, 32, 0.0)
        else:
            self.body = nn.LSTM(8, 24)
        self.head = nn.Linear(16 if attentive else 24, 10)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "right":
            x = x.transpose(0, 1)
        if self.how == "reshaped":
            x = x.reshape(8, -1, 8)
        if self.attentive:
            made = self.body(self.given(x) + (self.place if self.how == "right" else self.place.transpose(0, 1)))
            return self.head(made.mean(0 if self.how == "right" else 1))
        made = self.body(x)[0]
        return self.head(made[:, -1] if self.how == "forgotten" else made[-1])


@cache
def padded(length: int) -> Data:
    """Short texts, padded at the end; whether their words are good or bad."""
    draws = torch.Generator().manual_seed(7)
    long = torch.randint(4, 10, (1500,), generator=draws)
    words = torch.randint(2, 40, (1500, length), generator=draws)
    good = torch.rand(40, generator=draws) - 0.5
    words[torch.arange(length)[None] >= long[:, None]] = 0
    return _split(words, ((good[words] * (words > 0)).sum(1) > 0).float())


class Padded(nn.Module):
    """An LSTM whose last state is that behind the padding, or that of the last word."""

    def __init__(self, right: bool) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(40, 12, padding_idx=0), nn.LSTM(12, 16, batch_first=True)
        self.head, self.right = nn.Linear(16, 1), right

    def forward(self, x: Tensor) -> Tensor:
        made = self.embed(x)
        if self.right:
            made = nn.utils.rnn.pack_padded_sequence(made, (x > 0).sum(1), batch_first=True, enforce_sorted=False)
        return self.head(self.rnn(made)[1][0][-1])[:, 0]


@cache
def peptides() -> Data:
    """Sequences of letters and the sum of their weights, always positive."""
    draws = torch.Generator().manual_seed(8)
    letters = torch.randint(1, 21, (1200, 10), generator=draws)
    weight = torch.rand(21, generator=draws)
    return _split(letters, (weight[letters].sum(1, keepdim=True) - 3) / 4)


class Peptide(nn.Module):
    """An LSTM over letters whose output may end with a ReLU that starts dead."""

    def __init__(self, bounded: bool) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(21, 12), nn.LSTM(12, 24, batch_first=True)
        self.fc, self.out, self.bounded = nn.Linear(24, 24), nn.Linear(24, 1), bounded
        nn.init.constant_(self.out.bias, -0.6)

    def forward(self, x: Tensor) -> Tensor:
        z = self.out(torch.relu(self.fc(self.rnn(self.embed(x))[0][:, -1])))
        return torch.relu(z) if self.bounded else z


class Digit(nn.Module):
    """Cells that are kept in a list, over the rows of a digit."""

    def __init__(self, kept: Callable[[list[nn.Module]], Any]) -> None:
        super().__init__()
        self.given, self.cells = nn.Linear(8, 4), kept([nn.LSTMCell(4, 12), nn.LSTMCell(12, 12)])
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        states = [(x.new_zeros(len(x), 12),) * 2 for _ in self.cells]
        for t in range(x.shape[1]):
            h = torch.tanh(self.given(x[:, t]))
            for i, cell in enumerate(self.cells):
                states[i] = cell(h, states[i])
                h = states[i][0]
        return self.head(h)


@cache
def both_sights() -> Data:
    """Two halves of an input, of which both are needed."""
    draws = torch.Generator().manual_seed(9)
    x = torch.randn(2400, 24, generator=draws)
    return _split(x, (x @ torch.randn(24, 4, generator=draws)).argmax(1))


class Fusion(nn.Module):
    """A gate of two layers lets the second half in; it never opens if both start at zero."""

    def __init__(self, shut: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 32), nn.Linear(12, 32)
        self.gate = nn.Sequential(nn.Linear(32, 32, False), nn.ReLU(), nn.Linear(32, 32, False), nn.Tanh())
        self.body = nn.Sequential(nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(32, 4)
        nn.init.zeros_(self.gate[2].weight)
        if shut:
            nn.init.zeros_(self.gate[0].weight)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.first(x[:, :12]), torch.relu(self.second(x[:, 12:]))
        one = one + self.gate(other) * other
        return self.head(one + self.body(one))


class Staying(nn.Module):
    """A network that can't be brought back into training mode."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.body = make()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)

    def train(self, mode: bool = True) -> "Staying":
        del mode
        return super().train(False)


@cache
def purchases() -> Data:
    """Who bought what, by hidden tastes."""
    draws = torch.Generator().manual_seed(10)
    tastes, kinds = torch.randn(120, 4, generator=draws), torch.randn(80, 4, generator=draws)
    who = torch.randint(120, (4096,), generator=draws)
    what = torch.multinomial(torch.softmax(2 * tastes[who] @ kinds.T, 1), 1, generator=draws)[:, 0]
    return _split(who, what, held=512)


class Towers(nn.Module):
    """Two tables of small embeddings whose products are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(120, 16), nn.Embedding(80, 16)
        for table in (self.user, self.item):
            nn.init.uniform_(table.weight, -0.05, 0.05)

    def forward(self, who: Tensor, what: Tensor) -> Tensor:
        return self.user(who) @ self.item(what).T


def matched(net: Towers, batch: Any) -> Tensor:
    """Tell each buyer's thing from those of the others in the batch."""
    return functional.cross_entropy(net(*batch), torch.arange(len(batch[0])))


def pictured(net: Towers, data: Data) -> float:
    """Return the share of buyers among whose ten best things is theirs."""
    best = net(data.held_x, torch.arange(80)).topk(10).indices
    return float((best == data.held_y[:, None]).any(1).float().mean())


class Coded(nn.Module):
    """An autoencoder whose code is one of 32, which start near what they code or far away."""

    def __init__(self, far: float) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 6))
        self.book = nn.Embedding(32, 6)
        nn.init.normal_(self.book.weight, std=1.0 if far else 0.15)
        self.book.weight.data += far
        self.decoder = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x)
        code = self.book(torch.cdist(z.detach(), self.book.weight.detach()).argmin(-1))
        loss = functional.mse_loss(code, z.detach()) + 0.25 * functional.mse_loss(z, code.detach())
        return self.decoder(z + (code - z).detach()), loss


def coded(net: Coded, batch: Any) -> Tensor:
    """Mean squared error and that of the codes."""
    made, loss = net(batch[0])
    return functional.mse_loss(made, batch[0]) + loss


@cache
def _ring() -> Tensor:
    draws = torch.Generator().manual_seed(4)
    return 0.3 * torch.randn(640, 2, generator=draws) + torch.tensor([2.0, -1.0])


class Points(Data):
    """Points without targets."""

    def passes(self, size: int = 32, shuffled: bool = True) -> Any:
        """One pass."""
        del shuffled
        yield from self.x[torch.randperm(len(self.x))].split(size)


def adversaries() -> Points:
    """Points in the plane that a generator is to imitate."""
    return Points(_ring(), _ring(), _ring(), _ring())


class Critic(nn.Module):
    """A generator and its judge; what the generator makes may be cut off in its own loss, too."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.made = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 2))
        self.judge = nn.Sequential(nn.Linear(2, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1))
        self.cut = cut

    def forward(self, noise: Tensor) -> Tensor:
        return self.made(noise)


def fooled(net: Critic, batch: Tensor) -> Tensor:
    """Both players' losses in one."""
    if not net.cut:
        return adversarial(net, batch)  # type: ignore[arg-type]  # it has the same parts
    made = net.made(torch.randn(len(batch), 4))
    ones, zeros = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)
    cross = functional.binary_cross_entropy_with_logits
    judged = cross(net.judge(batch), ones) + cross(net.judge(made.detach()), zeros)
    frozen = {name: p.detach() for name, p in net.judge.named_parameters()}
    return judged + cross(torch.func.functional_call(net.judge, frozen, (made.detach(),)), ones)


class Missed(nn.Module):
    """A narrow first layer that is frozen as it was drawn, with weights that say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 3), nn.Linear(3, 32), nn.Linear(32, 10)
        nn.init.normal_(self.first.weight, std=0.01)
        self.first.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


@cache
def rooted() -> "Pairs":
    """Pairs of points, some of them twice the same, and how far apart their images are to be."""
    draws = torch.Generator().manual_seed(11)
    one, other = torch.randn(900, 6, generator=draws), torch.randn(900, 6, generator=draws)
    other[::20] = one[::20]
    return Pairs(one, other, (one - other)[:, :2].norm(dim=1), one[:0])


class Pairs(Data):
    """Two inputs and a distance; `held_x` is the distance."""

    def passes(self, size: int = 32, shuffled: bool = True) -> Any:
        """One pass."""
        del shuffled
        for places in torch.randperm(600).split(size):
            if len(places) == size:
                yield self.x[places], self.y[places], self.held_x[places]


class Rooted(nn.Module):
    """Points to points."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def close(net: nn.Module, data: Pairs) -> float:
    """Return the share of the distances' variance that is explained."""
    made = (net(data.x[600:]) - net(data.y[600:])).norm(dim=1)
    wanted = data.held_x[600:]
    return max(-1.0, 1 - float((made - wanted).square().mean() / wanted.var()))


def stacked() -> nn.Module:
    """Sigmoid, ELU and a single output, with Glorot's start."""
    net = nn.Sequential(nn.Linear(1, 50), nn.Sigmoid(), nn.Linear(50, 50), nn.ELU(), nn.Linear(50, 1))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net

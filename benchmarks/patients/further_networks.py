"""Networks of `patients.further`."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def segmenter() -> nn.Module:
    """Three convolutions that keep the size."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)
    )


class Tagger(nn.Module):
    """A tag for every token, by what has come so far."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(12, 16)
        self.rnn = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [n, steps] to logits [n, steps, 3]."""
        return self.head(self.rnn(self.tokens(x))[0])  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Reads symbols, and says others one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(6, 12)
        self.reader, self.writer = nn.GRU(12, 48, batch_first=True), nn.GRU(12, 48, batch_first=True)
        self.head = nn.Linear(48, 5)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        """Symbols read [n, steps], and given to the decoder [n, steps], to logits [n, steps, 5]."""
        _, state = self.reader(self.tokens(x))
        return self.head(self.writer(self.tokens(given), state)[0])  # type: ignore[no-any-return]

    def says(self, x: Tensor) -> Tensor:
        """What it says by itself: each symbol is given the one that it has just said."""
        _, state = self.reader(self.tokens(x))
        said, last = [], torch.full((len(x), 1), 5)
        for _ in range(x.shape[1]):
            made, state = self.writer(self.tokens(last), state)
            last = self.head(made).argmax(-1)
            said.append(last)
        return torch.cat(said, 1)


class Twins(nn.Module):
    """The upper and the lower half of a digit as two unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.upper = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 32))
        self.lower = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 32))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Digits [n, 64] to two times [n, 32]."""
        images = x.view(-1, 1, 8, 8)
        one, other = self.upper(images[:, :, :4]), self.lower(images[:, :, 4:])
        return functional.normalize(one, dim=1), functional.normalize(other, dim=1)


class Two(nn.Module):
    """Two heads on one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())
        self.kinds, self.amount = nn.Linear(24, 10), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Digits [n, 64] to logits and an amount."""
        z = self.body(x)
        return self.kinds(z), self.amount(z)


class Normed(nn.Module):
    """Features with a norm between them: over all of them, or each for itself."""

    def __init__(self, single: bool) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.norm, self.single = nn.LayerNorm(1 if single else 32), single

    def forward(self, x: Tensor) -> Tensor:
        """Digits [n, 64] to logits [n, 10]."""
        z = self.first(x)
        z = self.norm(z.unsqueeze(-1)).squeeze(-1) if self.single else self.norm(z)
        return self.head(self.second(z.relu()).relu())  # type: ignore[no-any-return]

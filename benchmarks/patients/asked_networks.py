"""Networks of `patients.asked`."""

import torch
from torch import Tensor, nn


class TwoWays(nn.Module):
    """A GRU that reads rows from both ends."""

    def __init__(self, mixed: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(8, 24, batch_first=True, bidirectional=True), nn.Linear(48, 10)
        self.mixed = mixed

    def forward(self, x: Tensor) -> Tensor:
        """Rows [n, 8, 8] to logits [n, 10]."""
        _, last = self.rnn(x)
        return self.head(last.view(len(x), -1) if self.mixed else last.transpose(0, 1).reshape(len(x), -1))  # type: ignore[no-any-return]


class Sequences(nn.Module):
    """Convolutions along steps that see what has come so far."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.first, self.head = nn.Embedding(12, 16), nn.Conv1d(16, 32, 2), nn.Conv1d(32, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [n, steps] to logits [n, 3, steps]."""
        z = nn.functional.pad(self.tokens(x).transpose(1, 2), (1, 0))
        return self.head(self.first(z).relu())  # type: ignore[no-any-return]


class Bare(nn.Module):
    """Layers of weights written by hand: as parameters, or as tensors that require gradients."""

    def __init__(self, bare: bool) -> None:
        super().__init__()
        made = [(0.2 * torch.randn(*size)).requires_grad_() for size in ((64, 24), (24, 24), (24, 10))]
        self.first, self.second, self.head = made if bare else (nn.Parameter(each.detach()) for each in made)
        self.norm = nn.LayerNorm(24)

    def forward(self, x: Tensor) -> Tensor:
        """Digits [n, 64] to logits [n, 10]."""
        z = self.norm(x @ self.first).relu()
        return (z @ self.second).relu() @ self.head

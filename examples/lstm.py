"""An LSTM that must remember its first input for 60 steps, and forgets half of it at every step (UT107).

With --mended its forget gates are open to begin with (a bias of 5), and the gradient reaches the first input.
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional

import undertow

MENDED = "--mended" in sys.argv
STEPS, SIZE = 60, 32


class Reader(nn.Module):
    """Reads a sequence, and tells at its end which symbol it began with."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, SIZE, batch_first=True)
        self.head = nn.Linear(SIZE, 4)
        if MENDED:
            with torch.no_grad():
                self.lstm.bias_ih_l0[SIZE : 2 * SIZE] = 5.0  # torch's order of gates: input, forget, cell, output

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [batch, 4] of sequences [batch, steps, 4]."""
        return self.head(self.lstm(x)[0][:, -1])


torch.manual_seed(0)
first = torch.randint(4, (64,))
sequences = torch.randn(64, STEPS, 4)
sequences[:, 0] = 3.0 * functional.one_hot(first, 4)
model = Reader()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
print(undertow.examine(model, lambda: functional.cross_entropy(model(sequences), first), optimizer))

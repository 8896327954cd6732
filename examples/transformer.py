"""A transformer that is handed [batch, time, features] without batch_first: it attends over the batch (UT506).

With --mended it is told where the batch is.
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional

import undertow

MENDED = "--mended" in sys.argv


class Classifier(nn.Module):
    """Two transformer blocks over embedded tokens, and a linear layer on their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        block = nn.TransformerEncoderLayer(32, nhead=4, dim_feedforward=64, dropout=0.0, batch_first=MENDED)
        self.encoder = nn.TransformerEncoder(block, num_layers=2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [batch, 2] of tokens [batch, time]."""
        return self.head(self.encoder(self.embedding(tokens)).mean(1))


torch.manual_seed(0)
tokens = torch.randint(50, (32, 20))
labels = (tokens < 5).any(1).long()
model = Classifier()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
print(undertow.examine(model, lambda: functional.cross_entropy(model(tokens), labels), optimizer))

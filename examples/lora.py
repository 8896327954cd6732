"""Fine-tuning by LoRA, written by hand, with both factors at zero: neither ever gets a gradient (UT109).

With --mended A is drawn at random and B is zero, so that the adapted model begins as the one that it adapts.
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional

import undertow

MENDED = "--mended" in sys.argv
RANK = 4


class LoRA(nn.Module):
    """A frozen linear layer and a low-rank change of it, x W^T + x A^T B^T."""

    def __init__(self, frozen: nn.Linear) -> None:
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.a = nn.Parameter(torch.zeros(RANK, frozen.in_features))
        self.b = nn.Parameter(torch.zeros(frozen.out_features, RANK))
        if MENDED:
            nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the frozen layer does, changed."""
        return self.frozen(x) + x @ self.a.T @ self.b.T


torch.manual_seed(0)
pretrained = [nn.Linear(16, 64), nn.Linear(64, 64), nn.Linear(64, 3)]
model = nn.Sequential(LoRA(pretrained[0]), nn.ReLU(), LoRA(pretrained[1]), nn.ReLU(), LoRA(pretrained[2]))
optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-3)
x = torch.randn(128, 16)
y = x[:, :3].argmax(1)
print(undertow.examine(model, lambda: functional.cross_entropy(model(x), y), optimizer))

"""A plain training loop whose gradients are never zeroed (UT701). With --mended they are.

Every step takes the sum of all gradients since the start, so the loss swings wider and wider.
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import undertow

MENDED = "--mended" in sys.argv

torch.manual_seed(0)
x = torch.randn(512, 8)
y = x[:, :1].sin() - x[:, 1:2] + 0.1 * torch.randn(512, 1)
model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "plain.undertow")
    with undertow.watch(model, optimizer, path=path, every=10) as watcher:
        for _ in range(150):
            part = torch.randint(512, (64,))
            loss = functional.mse_loss(model(x[part]), y[part])
            if MENDED:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watcher.log(loss=loss)
    print(undertow.explain(undertow.open_run(path)))

"""float16 with a loss scaler and accumulation, clipped before the gradients are unscaled: steps of nothing (UT403).

The scaler multiplies the loss by 65,536, so a norm of 1 cuts every gradient to one part in tens of thousands. With
--mended the gradients are unscaled before they are clipped.
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import undertow

MENDED = "--mended" in sys.argv
ACCUMULATED = 2

torch.manual_seed(0)
x = torch.randn(512, 16)
y = x[:, :4].argmax(1)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler("cpu")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "half.undertow")
    with undertow.watch(model, optimizer, path=path, every=10, scaler=scaler) as watcher:
        for _ in range(240):
            optimizer.zero_grad()
            for part in torch.randint(512, (ACCUMULATED, 64)):
                with torch.autocast("cpu", dtype=torch.float16):
                    loss = functional.cross_entropy(model(x[part]), y[part]) / ACCUMULATED
                scaler.scale(loss).backward()
                watcher.log(loss=loss * ACCUMULATED)
            if MENDED:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    print(undertow.explain(undertow.open_run(path)))

# %% [markdown]
# # Is every layer trained?
#
# Three looks at a network that learns: who makes the progress, how it went over time, and what each layer is worth in the end.

# %%
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import undertow

torch.manual_seed(0)
x = torch.randn(512, 16)
y = (x[:, :8].prod(1) > 0).long() + 2 * (x[:, 8] > 0).long()
layers = [layer for _ in range(4) for layer in (nn.Linear(48, 48), nn.ReLU())]
model = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), *layers, nn.Linear(48, 4))
start = {name: value.clone() for name, value in model.state_dict().items()}
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

# %% [markdown]
# ## Share of progress
# Each layer's part of what the next step takes off the loss; the shares sum to 1.

# %%
report = undertow.examine(model, lambda: functional.cross_entropy(model(x), y), optimizer)
table = report.table()
shares = {m: s for m, r, s in zip(table["module"], table["role"], table["progress"], strict=True) if r == "weight"}
for name, share in shares.items():
    print(f"{name:3} {share:6.1%} {'#' * round(60 * share)}")
assert abs(sum(shares.values()) - 1) < 0.01

# %% [markdown]
# ## Over time

# %%
path = Path(tempfile.mkdtemp(), "run.undertow")
with undertow.watch(model, optimizer, path=path, every=20) as watcher:
    for _ in range(200):
        part = torch.randint(512, (64,))
        loss = functional.cross_entropy(model(x[part]), y[part])
        optimizer.zero_grad()
        loss.backward()
        watcher.log(loss=loss)
        optimizer.step()
print(undertow.explain(undertow.open_run(path)))

# %% [markdown]
# ## What each layer is worth
# Every layer by itself is set back to where it started, and to fresh random weights, and the network is scored. A layer that can go
# back without loss has not learned anything the network needs.


# %%
def accuracy(model):
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


for each in undertow.reset_test(model, start, accuracy):
    print(f"{each.module:3} trained {each.trained:.0%}, set back to its start {each.initial:.0%}")

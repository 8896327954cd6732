# %% [markdown]
# # My model won't train
#
# An order to go in, on your own model: first one pass, then a watched run, then the doctor. Put your model where `Net` is.

# %%
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import undertow

torch.manual_seed(0)
x = torch.randn(256, 16)
y = x[:, :4].argmax(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 4)

    def forward(self, x):
        return self.head(self.body(x)).softmax(1)


def make_optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=3e-4)


# %% [markdown]
# ## 1. One pass
# `examine` with the optimizer sees the model, the loss, inputs, targets and the step.

# %%
model = Net()
report = undertow.examine(model, lambda: functional.cross_entropy(model(x), y), make_optimizer(model))
report

# %% [markdown]
# ## 2. A watched run
# If one pass shows nothing, watch a short training: what takes time to see (gradients that are not zeroed, a mode that was
# forgotten, a spike) shows there.

# %%
path = Path(tempfile.mkdtemp(), "run.undertow")
optimizer = make_optimizer(model)
with undertow.watch(model, optimizer, path=path, every=10) as watcher:
    for _ in range(120):
        part = torch.randint(256, (64,))
        loss = functional.cross_entropy(model(x[part]), y[part])
        optimizer.zero_grad()
        loss.backward()
        watcher.log(loss=loss)
        optimizer.step()
explanation = undertow.explain(undertow.open_run(path))
explanation

# %% [markdown]
# ## 3. The doctor
# Say how you train, as data; remedies are tried on fresh models, and only what fresh seeds confirm is told. (Here at level D alone,
# which changes what the output means: that is where the fault lies. Leave `levels` out to try everything.)

# %%
training = undertow.Training(
    model=Net,
    batches=lambda: [(x[part], y[part]) for part in torch.randperm(256).split(64)],
    loss=lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1]),
    optimizer=make_optimizer,
    score=lambda model: float((model(x).argmax(1) == y).float().mean()),
    steps=60,
)
treatment = undertow.doctor(training, budget="5m", levels="CD", seeds=3, processes=0)
print(treatment)

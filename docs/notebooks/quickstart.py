# %% [markdown]
# # Quickstart
#
# A network that doesn't learn, what is wrong with it, and the same one mended: in three cells.

# %%
import torch
from torch import nn
from torch.nn import functional

import undertow

torch.manual_seed(0)
x = torch.randn(256, 2)
y = (x[:, 0] * x[:, 1] > 0).long()


def network(activation):
    sizes = [2, *7 * [64]]
    hidden = [layer for n, m in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(n, m), activation())]
    return nn.Sequential(*hidden, nn.Linear(64, 2))


model = network(nn.Sigmoid)
report = undertow.examine(model, lambda: functional.cross_entropy(model(x), y))
report

# %% [markdown]
# The first lines say what is wrong, how bad that is, and what to type. Here it is done:

# %%
mended = network(nn.ReLU)
for module in mended:
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
after = undertow.examine(mended, lambda: functional.cross_entropy(mended(x), y))
print([finding.code for finding in after.findings])
assert not after.findings

# %%
print("gone:", [finding.code for finding in report.compare(after).gone])

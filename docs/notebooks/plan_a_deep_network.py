# %% [markdown]
# # Plan a deep network with theory
#
# Before anything is built: which variance keeps the gradient, and how deep may the network be?

# %%
from undertow import theory

for name, weight_var in (("relu", 1 / 3), ("relu", 2.0), ("tanh", 1 / 3), ("tanh", 1.0), ("gelu", 2.0)):
    gain = theory.meanfield.layer_gain(name, weight_var=weight_var)
    print(
        f"{name:5} σ_w² = {weight_var:.2f}: each layer multiplies the gradient by {gain:.3f}, 30 layers by {gain**30:.1e}"
    )

# %% [markdown]
# PyTorch's own start of `nn.Linear` is σ_w² = 1/3: too small for thirty layers of anything. 2 for ReLU and 1 for tanh keep the
# gradient. How deep a network may be at other variances is 6 ξ_c:

# %%
for weight_var in (0.8, 1.2, 1.76, 2.5):
    depth = theory.meanfield.trainable_depth("tanh", weight_var=weight_var, bias_var=0.05)
    print(f"tanh, σ_w² = {weight_var}: {depth:.0f} layers")

# %% [markdown]
# And now the network, held against the plan: one pass, and theory beside every layer.

# %%
import torch
from torch import nn
from torch.nn import functional

import undertow

torch.manual_seed(0)
layers = [layer for _ in range(30) for layer in (nn.Linear(128, 128), nn.Tanh())]
model = nn.Sequential(*layers, nn.Linear(128, 10))
for module in model:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=(1 / 128) ** 0.5)
        nn.init.zeros_(module.bias)
x, y = torch.randn(256, 128), torch.randint(10, (256,))
report = undertow.examine(model, lambda: functional.cross_entropy(model(x), y))
report

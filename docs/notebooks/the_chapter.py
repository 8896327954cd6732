# %% [markdown]
# # The chapter: why are deep networks hard to train?
#
# Chapter 5 of Michael Nielsen's *Neural Networks and Deep Learning*, with many networks where the book could show one. The lab trains
# them side by side, with backpropagation written out. Here on scikit-learn's small digits; `undertow chapter5` does all of it on
# MNIST.

# %%
import numpy as np

from undertow import theory
from undertow.lab import Ensemble, digits

data = digits()
x, y = data.train.x, data.train.y

# %% [markdown]
# ## Layers learn at very different speed
# The learning speed of a layer is ‖∂C/∂b‖. In networks of four hidden layers every earlier one is several times slower:

# %%
nets = Ensemble([64, 30, 30, 30, 30, 10], members=16, seed=0)
speeds = np.median(nets.learning_speed(x, y), axis=0)[:-1]
for layer, speed in enumerate(speeds, start=1):
    print(f"hidden layer {layer}: {speed:.1e}")
assert (np.diff(speeds) > 0).all()

# %% [markdown]
# ## Why: a product of small factors
# In a chain of single neurons the gradient is w σ'(z) times itself, again and again, and σ' is a quarter at best.

# %%
for factor in theory.chain.gradient([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]).factors:
    print(factor)

# %% [markdown]
# ## What mean-field theory expects of one layer
# √χ is what a layer multiplies the gradient's size by, in wide networks with these weights:

# %%
print(f"theory:   {theory.meanfield.layer_gain('sigmoid', weight_var=1.0, bias_var=1.0):.3f}")
print(f"measured: {np.median(speeds[:-1] / speeds[1:]):.3f}")

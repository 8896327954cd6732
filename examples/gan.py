"""A GAN whose generator is trained on fakes that were detached for the discriminator: it gets no gradient (UT501).

With --mended its own loss is taken on fakes that still hang on it.
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional

import undertow

MENDED = "--mended" in sys.argv

torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
discriminator = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
gan = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
optimizers = [torch.optim.Adam(part.parameters(), lr=2e-4, betas=(0.5, 0.999)) for part in gan.values()]


def generator_loss() -> Tensor:
    """Return how well the discriminator tells fakes from what is real, as the generator is to change it."""
    fakes = generator(torch.randn(64, 8))
    judged = discriminator(fakes if MENDED else fakes.detach())
    return functional.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))


print(undertow.examine(gan, generator_loss, optimizers[0]))

"""What a step did to the weights, from a sample of them."""

import numpy as np
import torch
from torch import Tensor, nn

from watching.loops import Left
from watching.training import Attach, Watched


def test_updates_of_large_layers_are_sampled(watched: Watched) -> None:
    """Within a few percent, of an embedding too, whose step touches a few rows."""
    true = []

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.hidden, self.out = nn.Embedding(5000, 32), nn.Linear(32, 600), nn.Linear(600, 40)

        def forward(self, words: Tensor) -> Tensor:
            return self.out(torch.tanh(self.hidden(self.words(words).mean(1))))

    def loop(attach: Attach) -> Left:
        model = Reader()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        attach(model, optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(torch.randint(5000, (64, 12))), torch.randint(40, (64,))).backward()
            optimizer.step()
            true.append([float(p.grad.norm()) for p in model.parameters()])
        return model, []

    _, run = watched(loop, every=1)
    np.testing.assert_allclose(run.parameter_columns["update_norm"], true, rtol=0.06)
    np.testing.assert_allclose(run.parameter_columns["progress"].sum(1), 1.0, rtol=1e-5)

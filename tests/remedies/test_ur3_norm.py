"""Norms in front of the branches."""

import copy
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from remedies.treating import codes
from undertow.remedies import Remedy, apply
from undertow.remedies.branches import branches


class Block(nn.Module):
    """Two branches of one's own, the norm behind each sum or in front of each branch."""

    def __init__(self, pre):
        super().__init__()
        self.q, self.v, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm1, self.norm2, self.drop = nn.LayerNorm(8), nn.LayerNorm(8), nn.Dropout(0.5)
        self.ff = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        self.pre = pre

    def attend(self, x):
        q = self.q(x)
        return self.drop(self.out((q @ q.transpose(1, 2)).softmax(-1) @ self.v(x)))

    def forward(self, x):
        if self.pre:
            x = x + self.attend(self.norm1(x))
            return x + self.ff(self.norm2(x))
        x = self.norm1(x + self.attend(x))
        return self.norm2(self.ff(x) + x)


class Blocks(nn.Module):
    def __init__(self, pre):
        super().__init__()
        self.first, self.head = nn.Linear(2, 8), nn.Linear(8, 3)
        self.blocks = nn.Sequential(Block(pre), Block(pre))

    def forward(self, x):
        x = self.blocks(self.first(x))
        return self.head((functional.layer_norm(x, (8,)) if self.blocks[0].pre else x).mean(1))


def test_norms_behind_sums_of_the_users_own_blocks_go_in_front_of_the_branches():
    late, early = (patients.classes(partial(Blocks, pre), 7, 2) for pre in (False, True))
    assert branches(early) == []
    assert "UR305" in codes(late)
    treated = apply(Remedy("UR305"), late)
    model, wanted, x = patients.made(treated).eval(), patients.made(early).eval(), late.sample(1)[0][0]
    assert torch.allclose(model(x), wanted(x), atol=1e-5)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    twin = copy.deepcopy(model)
    model.blocks[0].norm1.weight.data.zero_()
    assert torch.allclose(twin(x), wanted(x), atol=1e-5)  # a copy leans on its own norms
    twin(x).sum().backward()
    assert all(p.grad is not None for p in twin.parameters())
    assert "blocks.0.norm1" in Remedy("UR305").written_for(late).snippet

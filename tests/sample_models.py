"""Models to examine: one whose gradient vanishes, a healthy one, one with a hostile name, a deep one."""

import torch
from torch import nn
from torch.nn import functional

HOSTILE = "<script>document['title']='broken'</script>*x* $y$ [a](#b) `c`"


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return x + self.second(functional.gelu(self.first(self.norm(x))))


def sigmoid(depth=8, width=20):
    torch.manual_seed(0)
    net = nn.Sequential(*[layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Sigmoid())])
    x = torch.randn(50, width)
    return net, lambda: net(x).square().mean()


def residual(depth=4, width=16):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, width), *(Block(width) for _ in range(depth)), nn.Linear(width, 2))
    x = torch.randn(30, 5)
    return net, lambda: net(x).square().mean()


def hostile():
    inner, _ = sigmoid()
    net, x = nn.Module(), torch.randn(50, 20)
    net.add_module(HOSTILE, inner)
    return net, lambda: inner(x).square().mean()


def thousand():
    torch.manual_seed(0)
    net = nn.Sequential(*[layer for _ in range(500) for layer in (nn.Linear(8, 8), nn.Tanh())])
    x = torch.randn(8, 8)
    return net, lambda: net(x).square().mean()


NET = """
    import torch
    from torch import nn

    def build():
        torch.manual_seed(0)
        net = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(20, 20), nn.Sigmoid())])
        x = torch.randn(50, 20)
        return net, lambda: net(x).square().mean()

    def better():
        torch.manual_seed(0)
        net = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(20, 20), nn.Tanh())])
        for layer in net[::2]:
            nn.init.xavier_normal_(layer.weight)
        x = torch.randn(50, 20)
        return net, lambda: net(x).square().mean(), torch.optim.SGD(net.parameters(), 0.1)

    def cut_off():
        net = nn.ModuleDict({"used": nn.Linear(3, 3), "left": nn.Linear(3, 3)})
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        return net, lambda: (net["used"](x) + net["left"](x).detach()).sum()

    def unused():
        net = nn.ModuleDict({"used": nn.Linear(3, 3), "left": nn.Linear(3, 3)})
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        return net, lambda: (net["left"](x), net["used"](x).sum())[1]
"""
"""A file with functions to examine."""

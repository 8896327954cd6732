"""Modules whose weights don't exist yet are refused, and left as lazy as they were."""

import pytest
import torch
from torch import nn

from undertow.examination import examine
from undertow.watching import watch


@pytest.mark.parametrize(
    ("lazy", "shape", "kind"),
    [
        (lambda: nn.LazyLinear(8), (16, 5), "LazyLinear"),
        (lambda: nn.LazyConv2d(8, 3), (4, 3, 8, 8), "LazyConv2d"),
        (lambda: nn.LazyBatchNorm1d(), (16, 5), "LazyBatchNorm1d"),
    ],
)
def test_lazy_modules_are_refused_until_they_were_called(lazy, shape, kind):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Identity(), lazy(), nn.Flatten(), nn.LazyLinear(2)), torch.randn(*shape)
    with pytest.raises(ValueError, match=rf"lazy modules .*1 \({kind}\).*Call the model on one batch"):
        examine(net, lambda: net(x).square().mean())
    assert kind in str(net)  # it is as lazy as it was
    net(x)
    assert examine(net, lambda: net(x).square().mean()).run.sites


def test_watch_refuses_them_too(tmp_path):
    net = nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(2))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"0 \(LazyLinear\), 1 \(LazyLinear\)"):
        watch(net, optimizer, path=tmp_path / "lazy.undertow")
    assert not list(tmp_path.iterdir())

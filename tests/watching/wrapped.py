"""Optimizers around optimizers, as people write and publish them, and loops that use them as theirs do."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from watching.training import loss_of

Step = Callable[[nn.Module, Any], float]


class Lookahead(Optimizer):
    """As the first ones were published: it makes itself an optimizer of the groups of another."""

    def __init__(self, base: Optimizer, k: int = 3, alpha: float = 0.5) -> None:
        self.optimizer, self.k, self.alpha, self.taken = base, k, alpha, 0
        super().__init__(base.param_groups, {})
        self.slow = [[p.detach().clone() for p in group["params"]] for group in base.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> Any:
        return slowly(self, closure)


@torch.no_grad()
def slowly(self: Any, closure: Any) -> Any:
    loss = self.optimizer.step(closure)
    self.taken += 1
    if self.taken % self.k == 0:
        for group, slow in zip(self.optimizer.param_groups, self.slow, strict=True):
            for fast, kept in zip(group["params"], slow, strict=True):
                kept.add_(fast - kept, alpha=self.alpha)
                fast.copy_(kept)
    return loss


class BareLookahead(Optimizer):
    """As timm has it: without Optimizer's own beginning, but with the dictionaries that hooks are kept in."""

    def __init__(self, base: Optimizer, k: int = 3, alpha: float = 0.5) -> None:
        self._optimizer_step_pre_hooks: dict[int, Any] = OrderedDict()
        self._optimizer_step_post_hooks: dict[int, Any] = OrderedDict()
        self.optimizer, self.k, self.alpha, self.taken = base, k, alpha, 0
        self.param_groups, self.defaults, self.state = base.param_groups, base.defaults, defaultdict(dict)
        self.slow = [[p.detach().clone() for p in group["params"]] for group in base.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> Any:
        return slowly(self, closure)


class SAM(Optimizer):
    """As davda54/sam has it: two backward passes a step, by a closure or by two calls."""

    def __init__(self, parameters: Iterator[nn.Parameter], base: type[Optimizer], rho: float = 0.05, **kw: Any) -> None:
        super().__init__(parameters, {"rho": rho, **kw})
        self.base_optimizer = base(self.param_groups, **kw)
        self.param_groups = self.base_optimizer.param_groups

    def _all(self) -> list[nn.Parameter]:
        return [p for group in self.param_groups for p in group["params"] if p.grad is not None]

    @torch.no_grad()
    def first_step(self, zero_grad: bool = False) -> None:
        norm = torch.norm(torch.stack([p.grad.norm() for p in self._all()]))
        for p in self._all():
            self.state[p]["old"] = p.data.clone()
            p.add_(p.grad, alpha=float(0.05 / (norm + 1e-12)))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad: bool = False) -> None:
        for p in self._all():
            p.data = self.state[p]["old"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        closure = torch.enable_grad()(closure)
        self.first_step(zero_grad=True)
        closure()
        self.second_step()


class PassThrough:
    """No optimizer by its class: it hands on what is asked of it."""

    def __init__(self, inner: Optimizer) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def step(self, closure: Any = None) -> Any:
        return self._inner.step(closure)


class Subclassed(Optimizer):
    """Hands its steps on, and is one by its class."""

    def __init__(self, inner: Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.wrapped = inner

    def step(self, closure: Any = None) -> Any:
        return self.wrapped.step(closure)


class Chained(Optimizer):
    """Two optimizers in one: matrices by Muon, the rest by AdamW, as Muon's users write it."""

    def __init__(self, model: nn.Module) -> None:
        matrices = [p for p in model.parameters() if p.dim() == 2]
        rest = [p for p in model.parameters() if p.dim() != 2]
        self.parts = [torch.optim.Muon(matrices, lr=0.01), AdamW(rest, lr=0.01)]
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    def step(self, closure: Any = None) -> None:
        assert closure is None
        for part in self.parts:
            part.step()


def plain(model: nn.Module, optimizer: Any) -> float:
    optimizer.zero_grad()
    loss = loss_of(model)
    loss.backward()
    optimizer.step()
    return loss.item()


def by_closure(model: nn.Module, optimizer: Any) -> float:
    def closure() -> Tensor:
        loss = loss_of(model)
        loss.backward()
        return loss

    loss = closure()
    optimizer.step(closure)
    optimizer.zero_grad()
    return loss.item()


def in_two_calls(model: nn.Module, optimizer: Any) -> float:
    loss = loss_of(model)
    loss.backward()
    optimizer.first_step(zero_grad=True)
    loss_of(model).backward()
    optimizer.second_step(zero_grad=True)
    return loss.item()


MUON = "Muon and AdamW in one"
"""torch has it since 2.9."""

KINDS: dict[str, tuple[Callable[[nn.Module], Any], Step]] = {
    "Lookahead of SGD": (lambda m: Lookahead(SGD(m.parameters(), lr=0.1)), plain),
    "Lookahead of AdamW": (lambda m: Lookahead(AdamW(m.parameters(), lr=0.01)), plain),
    "Lookahead as timm has it": (lambda m: BareLookahead(SGD(m.parameters(), lr=0.1, momentum=0.9)), plain),
    "SAM by a closure": (lambda m: SAM(m.parameters(), SGD, lr=0.1, momentum=0.9), by_closure),
    "SAM in two calls": (lambda m: SAM(m.parameters(), SGD, lr=0.1, momentum=0.9), in_two_calls),
    "SAM of AdamW in two calls": (lambda m: SAM(m.parameters(), AdamW, lr=0.01), in_two_calls),
    **({MUON: (Chained, plain)} if hasattr(torch.optim, "Muon") else {}),
    "passed through": (lambda m: PassThrough(Adam(m.parameters(), lr=0.01)), plain),
    "passed through by a subclass": (lambda m: Subclassed(Adam(m.parameters(), lr=0.01)), plain),
    "passed through twice": (lambda m: PassThrough(Subclassed(SGD(m.parameters(), lr=0.1))), plain),
}

"""Ways to train, one function each. ``attach(model, optimizer, ...)`` is called once, before the loop."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from watching.training import Attach, batch, loss_of, net

STEPS = 7
Left = tuple[nn.Module, list[Any]]


def train(
    attach: Attach,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    compute: Callable[[nn.Module], Tensor] = loss_of,
    before_step: Callable[[nn.Module], object] = lambda _: None,
    after_step: Callable[[nn.Module, int], object] = lambda *_: None,
    steps: int = STEPS,
    **settings: Any,
) -> Left:
    attach(model, optimizer, **settings)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = compute(model)
        loss.backward()
        before_step(model)
        optimizer.step()
        after_step(model, step)
        losses.append(loss.item())
    return model, losses


def sgd(model: nn.Module, **settings: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.1, **settings)


def plain(attach: Attach) -> Left:
    model = net()
    return train(attach, model, sgd(model))


def momentum_and_decay(attach: Attach) -> Left:
    model = net()
    return train(attach, model, sgd(model, momentum=0.9, weight_decay=0.01, nesterov=True))


def relu_in_place_with_dropout(attach: Attach) -> Left:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(16, 3))
    return train(attach, model, sgd(model))


def batch_norm(attach: Attach) -> Left:
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    return train(attach, model, sgd(model))


def adamw(attach: Attach) -> Left:
    model = net()
    return train(attach, model, torch.optim.AdamW(model.parameters(), lr=0.01))


def fused_adam(attach: Attach) -> Left:
    model = net()
    return train(attach, model, torch.optim.Adam(model.parameters(), lr=0.01, fused=True))


def foreach_rmsprop(attach: Attach) -> Left:
    model = net()
    return train(attach, model, torch.optim.RMSprop(model.parameters(), lr=0.01, foreach=True))


def parameter_groups(attach: Attach) -> Left:
    model = net()
    groups = [{"params": layer.parameters(), "lr": 0.1 * 0.5**n} for n, layer in enumerate(model) if n % 2 == 0]
    return train(attach, model, torch.optim.SGD(groups, lr=1.0))


def schedule(attach: Attach) -> Left:
    model = net()
    optimizer = sgd(model)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 10)
    return train(attach, model, optimizer, after_step=lambda *_: warm_up.step())


def clipping(attach: Attach) -> Left:
    model = net()
    clip = torch.nn.utils.clip_grad_norm_
    return train(attach, model, sgd(model), before_step=lambda m: clip(m.parameters(), 0.05))


def clipping_by_value(attach: Attach) -> Left:
    model = net()
    clip = torch.nn.utils.clip_grad_value_
    return train(attach, model, sgd(model), before_step=lambda m: clip(m.parameters(), 0.01))


def frozen_then_not(attach: Attach) -> Left:
    model = net()
    for p in model[0].parameters():
        p.requires_grad_(False)

    def thaw(_: nn.Module, step: int) -> None:
        if step == 2:
            for p in model[0].parameters():
                p.requires_grad_(True)
            for p in model[2].parameters():
                p.requires_grad_(False)

    return train(attach, model, sgd(model), after_step=thaw)


def layers_added(attach: Attach) -> Left:
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)

    def add(_: nn.Module, step: int) -> None:
        if step == 2:
            optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.01})

    return train(attach, model, optimizer, after_step=add)


def zeroed_in_place(attach: Attach) -> Left:
    model = net()
    optimizer = sgd(model)
    attach(model, optimizer)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=False)
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def accumulation(attach: Attach) -> Left:
    model = net()
    optimizer = sgd(model)
    attach(model, optimizer)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        for _ in range(3):
            loss = loss_of(model) / 3
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
    return model, losses


def autocast(attach: Attach) -> Left:
    model = net()

    def compute(model: nn.Module) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss_of(model)

    return train(attach, model, sgd(model), compute)


def bfloat16_weights(attach: Attach) -> Left:
    model = net().bfloat16()

    def compute(model: nn.Module) -> Tensor:
        x, y = batch()
        return nn.functional.cross_entropy(model(x.bfloat16()).float(), y)

    return train(attach, model, sgd(model), compute)


def _scaled(attach: Attach, optimizer_of: Callable[[nn.Module], torch.optim.Optimizer], tell: bool) -> Left:
    """A real scaler, with an overflow at steps 2 and 5."""
    model = net()
    optimizer = optimizer_of(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    attach(model, optimizer, **({"scaler": scaler} if tell else {}))
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model) * torch.tensor(float("inf") if step in (2, 5) else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return model, [*losses, scaler.get_scale()]


def scaler(attach: Attach) -> Left:
    return _scaled(attach, sgd, tell=True)


def scaler_not_told(attach: Attach) -> Left:
    return _scaled(attach, sgd, tell=False)


def scaler_fused(attach: Attach) -> Left:
    return _scaled(attach, lambda model: torch.optim.Adam(model.parameters(), lr=0.01, fused=True), tell=True)


def scaler_fused_not_told(attach: Attach) -> Left:
    return _scaled(attach, lambda model: torch.optim.SGD(model.parameters(), lr=0.1, fused=True), tell=False)


def scaler_and_clipping(attach: Attach) -> Left:
    model = net()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    attach(model, optimizer, scaler=scaler)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return model, losses


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.block = nn.Linear(8, 12), nn.Sequential(nn.Linear(12, 12), nn.Dropout(0.2), nn.Tanh())
        self.norm, self.last = nn.BatchNorm1d(12), nn.Linear(12, 3)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(self.block, self.first(x), use_reentrant=self.reentrant)
        return self.last(self.norm(hidden))


def checkpointing(attach: Attach) -> Left:
    model = Checkpointed(reentrant=False)
    return train(attach, model, sgd(model))


def checkpointing_reentrant(attach: Attach) -> Left:
    model = Checkpointed(reentrant=True)
    return train(attach, model, sgd(model))


def gan(attach: Attach) -> Left:
    """Two optimizers on one container that is never called itself; two steps of the critic for one of the generator."""
    model = nn.ModuleDict(
        {"generator": net(out=4), "critic": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))}
    )
    generator, critic = model["generator"], model["critic"]
    of_generator = torch.optim.Adam(generator.parameters(), lr=0.01)
    of_critic = torch.optim.Adam(critic.parameters(), lr=0.01)
    attach(model, [of_generator, of_critic])
    losses = []
    for _ in range(STEPS):
        for _ in range(2):
            of_critic.zero_grad()
            fake = generator(torch.randn(8, 8)).detach()
            loss = critic(fake).mean() - critic(torch.randn(8, 4)).mean()
            loss.backward()
            of_critic.step()
        of_generator.zero_grad()
        loss = -critic(generator(torch.randn(8, 8))).mean()
        loss.backward()
        of_generator.step()
        losses.append(loss.item())
    return model, losses


def evaluation_between(attach: Attach) -> Left:
    model = net()
    other = nn.Linear(8, 3)

    def evaluate(model: nn.Module, _: int) -> None:
        model.eval()
        with torch.no_grad():
            for _ in range(3):
                loss_of(model)
        loss_of(model)  # somebody forgot no_grad
        loss_of(other).backward()  # and somebody trains another model
        model.train()

    return train(attach, model, sgd(model), after_step=evaluate)


def copies_between(attach: Attach) -> Left:
    model = net()

    def keep(model: nn.Module, _: int) -> None:
        pickle.loads(pickle.dumps(copy.deepcopy(model)))  # noqa: S301  # our own

    return train(attach, model, sgd(model), after_step=keep)


def lbfgs(attach: Attach) -> Left:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    attach(model, optimizer)
    losses = []
    for _ in range(4):
        x, y = batch()

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    return model, losses


def sgd_closure(attach: Attach) -> Left:
    model = net()
    optimizer = sgd(model)
    attach(model, optimizer)
    losses = []
    for _ in range(STEPS):

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    return model, losses


def sparse_embedding(attach: Attach) -> Left:
    model = nn.Sequential(nn.EmbeddingBag(50, 6, sparse=True), nn.Linear(6, 3))

    def compute(model: nn.Module) -> Tensor:
        return nn.functional.cross_entropy(model(torch.randint(50, (16, 4))), torch.randint(3, (16,)))

    return train(attach, model, sgd(model), compute)


def recurrent(attach: Attach) -> Left:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.LSTM(8, 6, num_layers=2, dropout=0.2, batch_first=True), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1])

    model = Reader()
    return train(
        attach,
        model,
        sgd(model),
        lambda m: nn.functional.cross_entropy(m(torch.randn(4, 5, 8)), torch.randint(3, (4,))),
    )


def double_backward(attach: Attach) -> Left:
    model = net()

    def penalised(model: nn.Module) -> Tensor:
        x, y = batch()
        x.requires_grad_(True)
        loss = nn.functional.cross_entropy(model(x), y)
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        return loss + slope.square().sum()

    return train(attach, model, sgd(model), penalised)


def divergence(attach: Attach) -> Left:
    model = net(activation=nn.ReLU)

    def compute(model: nn.Module) -> Tensor:
        x, _ = batch()
        return model(x).square().mean() * 1e4

    return train(attach, model, torch.optim.SGD(model.parameters(), lr=1e3), compute, steps=12)


def two_watchers(attach: Attach) -> Left:
    """Two models trained in turn, each with a watcher of its own."""
    first, second = net(), net(width=6)
    ours, theirs = sgd(first), sgd(second)
    watcher = attach(second, theirs)
    if watcher is not None:
        path = watcher.path.replace("first.", "other.")
        import undertow

        other = undertow.watch(first, ours, path, every=2)
    losses = []
    for _ in range(STEPS):
        for model, optimizer in ((first, ours), (second, theirs)):
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    if watcher is not None:
        other.close()
    return second, losses


LOOPS = (
    plain,
    momentum_and_decay,
    relu_in_place_with_dropout,
    batch_norm,
    adamw,
    fused_adam,
    foreach_rmsprop,
    parameter_groups,
    schedule,
    clipping,
    clipping_by_value,
    frozen_then_not,
    layers_added,
    zeroed_in_place,
    accumulation,
    autocast,
    bfloat16_weights,
    scaler,
    scaler_not_told,
    scaler_fused,
    scaler_fused_not_told,
    scaler_and_clipping,
    checkpointing,
    checkpointing_reentrant,
    gan,
    evaluation_between,
    copies_between,
    lbfgs,
    sgd_closure,
    sparse_embedding,
    recurrent,
    double_backward,
    divergence,
    two_watchers,
)

"""Run by two processes: a trainer trains one model in both, watched or not, and saves what is left; no test itself."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

STEPS, ROWS, WORLD = 12, 8, 2
CLIP = 0.3


def data() -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    rows = STEPS * ROWS * WORLD
    return TensorDataset(torch.randn(rows, 8, generator=generator), torch.randint(3, (rows,), generator=generator))


def joined(batches: list[Any]) -> list[torch.Tensor]:
    """Return some batches as one."""
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


def net(deep: bool) -> nn.Sequential:
    torch.manual_seed(0)
    if not deep:
        return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    layers = [layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(8, 3))


def by_lightning(folder: Path, watch: bool, stop: bool, passes: int) -> dict[str, Any]:
    module = lightning_module()(stop)
    found = fitted(module, "ddp", folder, watch, stop, passes)
    return {"state": module.net.state_dict(), **found}


def by_lightning_sharded(folder: Path, watch: bool, stop: bool, passes: int) -> dict[str, Any]:
    """Spread the parameters by ``fully_shard`` (FSDP2), under Lightning's ModelParallelStrategy."""
    from lightning.pytorch.strategies import ModelParallelStrategy
    from torch.distributed.fsdp import fully_shard

    class Sharded(lightning_module()):
        def configure_model(self):
            mesh = self.device_mesh["data_parallel"]
            for layer in (self.net[0], self.net):
                fully_shard(layer, mesh=mesh)

    module = Sharded(stop)
    strategy = ModelParallelStrategy(data_parallel_size=WORLD, tensor_parallel_size=1, process_group_backend="gloo")
    found = fitted(module, strategy, folder, watch, stop, passes)
    return {"state": {name: value.full_tensor() for name, value in module.net.state_dict().items()}, **found}


def lightning_module() -> type:
    """Return the module that is trained under each of Lightning's strategies."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self, stop: bool):
            super().__init__()
            self.net, self.losses, self.batches = net(stop), [], []

        def training_step(self, batch, batch_idx):
            self.batches.append(batch)
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Module


def fitted(module: Any, strategy: Any, folder: Path, watch: bool, stop: bool, passes: int) -> dict[str, Any]:
    """Fit a module on all ranks, watched or not; return its losses, its steps and what the first of them took."""
    import lightning

    from undertow.integrations.lightning import UndertowCallback

    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=WORLD,
        strategy=strategy,
        max_epochs=200 if stop else 1,
        accumulate_grad_batches=passes,
        gradient_clip_val=CLIP,
        default_root_dir=folder,
        callbacks=[UndertowCallback(every=1, stop_on=["error"] if stop else [])] if watch else [],
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, DataLoader(data(), ROWS))
    return {
        "losses": module.losses,
        "steps": trainer.global_step,
        "first": joined(module.batches[:passes]),
    }


def by_hf(folder: Path, watch: bool, stop: bool, passes: int) -> dict[str, Any]:
    from transformers import Trainer, TrainingArguments

    from undertow.integrations.hf import UndertowCallback

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.losses, self.batches = net(stop), [], []

        def forward(self, x, labels):
            self.batches.append((x, labels))
            loss = nn.functional.cross_entropy(self.net(x), labels)
            self.losses.append(loss.item())
            return {"loss": loss}

    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=ROWS,
        num_train_epochs=200 if stop else 1,
        gradient_accumulation_steps=passes,
        max_grad_norm=CLIP,
        optim="sgd",
        learning_rate=0.1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        ddp_backend="gloo",
    )
    rows = [{"x": x, "labels": y} for x, y in data()]
    trainer = Trainer(Model(), arguments, train_dataset=rows)
    if watch:
        trainer.add_callback(UndertowCallback(trainer, every=1, stop_on=["error"] if stop else []))
    trainer.train()
    return {
        "state": trainer.model.net.state_dict(),
        "losses": trainer.model.losses,
        "steps": trainer.state.global_step,
        "first": joined(trainer.model.batches[:passes]),
    }


def by_accelerate(folder: Path, watch: bool, stop: bool, passes: int) -> dict[str, Any]:
    from accelerate import Accelerator

    from undertow.integrations import accelerate

    accelerator = Accelerator(cpu=True, project_dir=folder, gradient_accumulation_steps=passes)
    inner = net(stop)
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
    model, optimizer, loader = accelerator.prepare(inner, optimizer, DataLoader(data(), ROWS))
    settings = {"every": 1, "stop_on": ["error"] if stop else []}
    watcher = accelerate.watch(accelerator, model, optimizer, **settings) if watch else None
    losses, batches = [], []
    for _ in range(200 if stop else 1):
        for x, y in loader:
            batches.append((x, y))
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(x), y)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
            if stop and watcher.agree_to_stop():
                break
        else:
            continue
        break
    if watcher is not None:
        watcher.close()
    return {
        "state": inner.state_dict(),
        "losses": losses,
        "steps": len(losses) // passes,
        "first": joined(batches[:passes]),
    }


CASES = (
    ("plain", False, False, 1),
    ("watched", True, False, 1),
    ("plain in parts", False, False, 4),
    ("watched in parts", True, False, 4),
    ("stopped", True, True, 1),
)
"""Names; whether the training is watched, whether it stops at a finding, and passes in a step."""


def main(kind: str, folder: Path) -> None:
    torch.set_num_threads(1)
    kinds = {"lightning": by_lightning, "sharded": by_lightning_sharded, "hf": by_hf, "accelerate": by_accelerate}
    train = kinds[kind]
    rank = os.environ["RANK"]
    for name, watch, stop, passes in CASES:
        torch.save(train(folder / name, watch, stop, passes), folder / f"{name}-{rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

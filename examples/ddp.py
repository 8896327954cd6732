"""Two processes under DistributedDataParallel, on pixels from 0 to 255 (UT706). With --mended they are 0 to 1, centred.

Each process writes a file of its own; rank 0's is opened, and the other is read with it.
"""

import os
import sys
import tempfile
from pathlib import Path

import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import undertow

MENDED = "--mended" in sys.argv


def train(rank: int, folder: str, mended: bool) -> None:
    """Train one of the two processes' copies; DDP averages their gradients."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    torch.manual_seed(rank)
    pixels = torch.randint(256, (256, 64)).float()
    labels = (pixels[:, :32].mean(1) > pixels[:, 32:].mean(1)).long()
    x = pixels / 255 - 0.5 if mended else pixels
    model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with undertow.watch(model, optimizer, path=Path(folder, "ddp.undertow"), every=10) as watcher:
        for part in torch.randint(256, (100, 32)):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x[part]), labels[part])
            loss.backward()
            optimizer.step()
            watcher.log(loss=loss)
    distributed.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(train, (folder, MENDED), nprocs=2)
        print(undertow.explain(undertow.open_run(Path(folder, "ddp.undertow"))))

"""Lightning, on prices as they stand in the table: targets of hundreds of thousands (UT706).

With --mended the network learns prices in units of their spread. Needs pip install "undertow[lightning]".
"""

import sys
import tempfile
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import undertow
from undertow.integrations.lightning import UndertowCallback

MENDED = "--mended" in sys.argv


class Prices(lightning.LightningModule):
    """A small network that tells a house's price from what is known of it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of a batch."""
        x, prices = batch
        return functional.mse_loss(self.network(x), prices)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.Adam(self.parameters(), lr=1e-2)


torch.manual_seed(0)
x = torch.randn(512, 6)
prices = 250_000 + 80_000 * x[:, :1] * x[:, 1:2].sign()
targets = (prices - prices.mean()) / prices.std() if MENDED else prices
loader = DataLoader(TensorDataset(x, targets), batch_size=32, shuffle=True)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "prices.undertow")
    trainer = lightning.Trainer(
        max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[UndertowCallback(path, every=10)],
    )  # fmt: skip
    trainer.fit(Prices(), loader)
    print(undertow.explain(undertow.open_run(path)))

"""A Hugging Face Trainer whose learning rate has a wrong exponent, 5e-10: its steps are lost in rounding (UT401).

With --mended it is 5e-4. Needs pip install "undertow[hf]"; nothing is downloaded.
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

import undertow
from undertow.integrations.hf import UndertowCallback

MENDED = "--mended" in sys.argv


class Sentences(Dataset[dict[str, torch.Tensor]]):
    """Random tokens; the class is whether the first is among the front half of the vocabulary."""

    def __init__(self) -> None:
        self.tokens = torch.randint(40, (512, 12))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[place], "labels": (self.tokens[place, 0] < 20).long()}


set_seed(0)
config = BertConfig(
    vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    max_position_embeddings=16, num_labels=2,
)  # fmt: skip

with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder, learning_rate=5e-4 if MENDED else 5e-10, per_device_train_batch_size=16, num_train_epochs=5,
        report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    trainer = Trainer(BertForSequenceClassification(config), arguments, train_dataset=Sentences())
    trainer.add_callback(UndertowCallback(trainer, every=10))
    trainer.train()
    print(undertow.explain(undertow.open_run(Path(folder, "run.undertow"))))

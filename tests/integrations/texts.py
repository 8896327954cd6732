"""Small texts and a small model of them, for Hugging Face's Trainer."""

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM


class Tokens(Dataset[dict[str, Tensor]]):
    """Texts of several lengths, padded: micro-batches differ in how many tokens count."""

    def __init__(self, rows=48, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.rows = torch.randint(1, 32, (rows, 12), generator=generator)
        self.lengths = torch.randint(4, 13, (rows,), generator=generator)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        beyond = torch.arange(12) >= self.lengths[index]
        return {"input_ids": self.rows[index], "labels": self.rows[index].masked_fill(beyond, -100)}


def llama(layers=2):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": layers}
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, max_position_embeddings=16, **sizes))

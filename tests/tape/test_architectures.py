"""Architectures of `transformers` with random weights, from small configs: the split closes, and no rule complains."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from undertow.analysis.gradient_path import find_gradient_path
from undertow.examination import examine
from undertow.record import Severity

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of transformers' own, about missing kernels and future versions
    pytest.mark.skipif(find_spec("transformers") is None, reason="optional: pip install transformers"),
]

TEXT = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
VISION = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


def words():
    ids = torch.randint(5, 90, (2, 12))
    return {"input_ids": ids, "labels": ids}


def pictures():
    return {"pixel_values": torch.randn(4, 3, 32, 32), "labels": torch.tensor([0, 1, 1, 1])}


ARCHITECTURES = {
    "GPT2LMHeadModel": ({"vocab_size": 100, "n_embd": 32, "n_layer": 3, "n_head": 4, "eos_token_id": 1}, words),
    "LlamaForCausalLM": (TEXT | {"num_key_value_heads": 2}, words),
    "BertForMaskedLM": (TEXT, words),
    "T5ForConditionalGeneration": (
        {"vocab_size": 100, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4,
         "decoder_start_token_id": 0},
        words,
    ),
    "MixtralForCausalLM": (TEXT | {"num_key_value_heads": 2, "num_local_experts": 4}, words),
    "MambaForCausalLM": ({"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, words),
    "ViTForImageClassification": (VISION | {"image_size": 32, "patch_size": 8}, pictures),
    "ConvNextForImageClassification": ({"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}, pictures),
    "ResNetForImageClassification": (
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [2, 2], "layer_type": "basic"},
        pictures,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture(name):
    import transformers

    settings, batch = ARCHITECTURES[name]
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    model, inputs = kind(kind.config_class(**settings)), batch()
    report = examine(model, lambda: model(**inputs).loss)
    assert [f.code for f in report.findings if f.severity is not Severity.NOTE] == []
    for gain in report.gains:
        assert np.prod(list(gain.factors.values())) == pytest.approx(gain.gain, rel=1e-6)
        assert gain.factors["unattributed"] == pytest.approx(1, abs=1e-3)
    assert abs(find_gradient_path(report.run).decay().total) < 1.3
    assert report.run.header["unreached"] == []

"""Real architectures, from `transformers`, small and with random weights, each seen to train."""

import importlib
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from zoo import tasks
from zoo.case import Case, Subject, seeded
from zoo.tasks import CLASSES

TEXT = {"vocab_size": 32, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LLAMA = {
    **TEXT,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VIT = {**{k: v for k, v in TEXT.items() if k != "vocab_size"}, "image_size": 16, "patch_size": 4, "num_labels": CLASSES}
IMAGES = partial(tasks.images, 16)
LARGE_IMAGES = partial(tasks.images, 32, size=12)
adam = partial(Adam, lr=2e-3)


def _model(model: str, config: str, **options: object) -> nn.Module:
    library = importlib.import_module("transformers")
    return getattr(library, model)(getattr(library, config)(**options))


def _next(model: nn.Module, x: Tensor, _y: Tensor) -> Tensor:
    logits = model(input_ids=x).logits
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), x[:, 1:].flatten())


def _same(model: nn.Module, x: Tensor, _y: Tensor) -> Tensor:
    """A fifth of the tokens masked, as BERT learns."""
    masked = torch.rand(x.shape) < 0.2
    logits = model(input_ids=x.masked_fill(masked, 3)).logits
    return functional.cross_entropy(logits[masked], x[masked])


def _copy(model: nn.Module, x: Tensor, _y: Tensor) -> Tensor:
    return model(input_ids=x, labels=x).loss


def _class(model: nn.Module, x: Tensor, y: Tensor, name: str = "pixel_values") -> Tensor:
    return functional.cross_entropy(model(**{name: x}).logits, y)


def _whisper(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    labels = torch.stack([y + 4, y + 8, y + 12], 1)
    return model(input_features=x.unflatten(1, (16, 100))[:, :, :40], labels=labels).loss


def hf(
    name: str,
    config: str,
    task: Callable[[], tasks.Batches],
    loss: Callable[..., Tensor],
    lr: float = 2e-3,
    **options: object,
):
    def build(seed: int) -> Subject:
        seeded(seed)
        model, batches = _model(name, config, **options), task()
        model.train()
        return Subject(model, lambda: loss(model, *batches()), Adam(model.parameters(), lr=lr))

    return build


causal = partial(hf, task=tasks.tokens, loss=_next)
masked = partial(hf, task=tasks.tokens, loss=_same)
copying = partial(hf, task=tasks.tokens, loss=_copy)
seeing = partial(hf, task=IMAGES, loss=_class)
hearing = partial(hf, task=tasks.sounds, loss=partial(_class, name="input_values"))

TABLE = [
    ("GPT-2", "decoder", causal("GPT2LMHeadModel", "GPT2Config", vocab_size=32, n_embd=32, n_layer=4, n_head=2, n_positions=32)),
    ("GPT-2, 12 blocks", "decoder", causal("GPT2LMHeadModel", "GPT2Config", vocab_size=32, n_embd=32, n_layer=12, n_head=2, n_positions=32)),
    ("GPT-NeoX", "decoder", causal("GPTNeoXForCausalLM", "GPTNeoXConfig", **TEXT)),
    ("OPT", "decoder", causal("OPTForCausalLM", "OPTConfig", vocab_size=32, hidden_size=32, num_hidden_layers=4, ffn_dim=64, num_attention_heads=2, word_embed_proj_dim=32, max_position_embeddings=32)),
    ("BLOOM", "decoder", causal("BloomForCausalLM", "BloomConfig", vocab_size=32, hidden_size=32, n_layer=4, n_head=2)),
    ("Llama", "llama-like", causal("LlamaForCausalLM", "LlamaConfig", **LLAMA)),
    ("Mistral", "llama-like", causal("MistralForCausalLM", "MistralConfig", **LLAMA)),
    ("Qwen2", "llama-like", causal("Qwen2ForCausalLM", "Qwen2Config", **LLAMA)),
    ("Gemma", "llama-like", causal("GemmaForCausalLM", "GemmaConfig", head_dim=16, **LLAMA)),
    ("Phi", "llama-like", causal("PhiForCausalLM", "PhiConfig", **LLAMA)),
    ("Mixtral", "mixture", causal("MixtralForCausalLM", "MixtralConfig", num_local_experts=4, num_experts_per_tok=2, **LLAMA)),
    ("Mamba", "state-space", causal("MambaForCausalLM", "MambaConfig", vocab_size=32, hidden_size=32, num_hidden_layers=3, state_size=8)),
    ("Mamba-2", "state-space", causal("Mamba2ForCausalLM", "Mamba2Config", vocab_size=32, hidden_size=32, num_hidden_layers=2, state_size=8, num_heads=4, head_dim=16, n_groups=1, chunk_size=16)),
    ("RWKV", "state-space", causal("RwkvForCausalLM", "RwkvConfig", vocab_size=32, hidden_size=32, num_hidden_layers=3, attention_hidden_size=32)),
    ("BERT", "encoder", masked("BertForMaskedLM", "BertConfig", **TEXT, **NO_DROPOUT)),
    ("BERT, dropout", "encoder", masked("BertForMaskedLM", "BertConfig", **TEXT)),
    ("RoBERTa", "encoder", masked("RobertaForMaskedLM", "RobertaConfig", max_position_embeddings=40, **TEXT)),
    ("ALBERT", "encoder", masked("AlbertForMaskedLM", "AlbertConfig", embedding_size=16, **TEXT)),
    ("ELECTRA", "encoder", masked("ElectraForMaskedLM", "ElectraConfig", embedding_size=32, **TEXT)),
    ("DeBERTa-v2", "encoder", masked("DebertaV2ForMaskedLM", "DebertaV2Config", **TEXT)),
    ("DistilBERT", "encoder", masked("DistilBertForMaskedLM", "DistilBertConfig", vocab_size=32, dim=32, n_layers=4, n_heads=2, hidden_dim=64)),
    ("T5", "encoder-decoder", copying("T5ForConditionalGeneration", "T5Config", vocab_size=32, d_model=32, d_kv=16, d_ff=64, num_layers=3, num_heads=2, decoder_start_token_id=0)),
    ("BART", "encoder-decoder", copying("BartForConditionalGeneration", "BartConfig", vocab_size=32, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=32)),
    ("Whisper", "audio", hf("WhisperForConditionalGeneration", "WhisperConfig", tasks.sounds, _whisper, vocab_size=32, num_mel_bins=16, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=20, max_target_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3)),
    ("Wav2Vec2", "audio", hearing("Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", num_labels=CLASSES, mask_time_length=4, layerdrop=0.0, conv_dim=(16, 16, 16), conv_stride=(5, 4, 2), conv_kernel=(10, 8, 4), num_feat_extract_layers=3, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, classifier_proj_size=32, **TEXT)),
    ("HuBERT", "audio", hearing("HubertForSequenceClassification", "HubertConfig", num_labels=CLASSES, mask_time_length=4, layerdrop=0.0, conv_dim=(16, 16, 16), conv_stride=(5, 4, 2), conv_kernel=(10, 8, 4), num_feat_extract_layers=3, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, classifier_proj_size=32, **TEXT)),
    ("ViT", "vision", seeing("ViTForImageClassification", "ViTConfig", **VIT)),
    ("DeiT", "vision", seeing("DeiTForImageClassification", "DeiTConfig", **VIT)),
    ("BEiT", "vision", seeing("BeitForImageClassification", "BeitConfig", layer_scale_init_value=1e-1, **VIT)),
    ("DINOv2", "vision", seeing("Dinov2ForImageClassification", "Dinov2Config", hidden_size=32, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=16, patch_size=4, num_labels=CLASSES)),
    ("Swin", "vision", seeing("SwinForImageClassification", "SwinConfig", task=LARGE_IMAGES, image_size=32, patch_size=2, embed_dim=16, depths=[1, 2, 1], num_heads=[1, 2, 4], window_size=4, num_labels=CLASSES)),
    ("PoolFormer", "vision", seeing("PoolFormerForImageClassification", "PoolFormerConfig", task=LARGE_IMAGES, depths=[1, 1, 2, 1], hidden_sizes=[16, 16, 32, 32], num_labels=CLASSES)),
    ("SegFormer", "vision", seeing("SegformerForImageClassification", "SegformerConfig", task=LARGE_IMAGES, depths=[1, 1, 1, 1], hidden_sizes=[16, 16, 32, 32], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=32, num_labels=CLASSES)),
    ("ConvNeXt", "convolution", seeing("ConvNextForImageClassification", "ConvNextConfig", task=LARGE_IMAGES, num_stages=4, patch_size=2, depths=[1, 1, 2, 1], hidden_sizes=[16, 16, 32, 32], num_labels=CLASSES)),
    ("ConvNeXt V2", "convolution", seeing("ConvNextV2ForImageClassification", "ConvNextV2Config", task=LARGE_IMAGES, num_stages=4, patch_size=2, depths=[1, 1, 2, 1], hidden_sizes=[16, 16, 32, 32], num_labels=CLASSES)),
    ("ResNet", "convolution", seeing("ResNetForImageClassification", "ResNetConfig", task=LARGE_IMAGES, embedding_size=16, hidden_sizes=[16, 16, 32], depths=[1, 2, 1], layer_type="basic", num_labels=CLASSES)),
    ("ResNet, bottlenecks", "convolution", seeing("ResNetForImageClassification", "ResNetConfig", task=LARGE_IMAGES, embedding_size=16, hidden_sizes=[16, 32, 32], depths=[2, 2, 2], num_labels=CLASSES)),
    ("MobileNet V2", "convolution", seeing("MobileNetV2ForImageClassification", "MobileNetV2Config", task=LARGE_IMAGES, depth_multiplier=0.25, num_labels=CLASSES)),
    ("MobileNet V1", "convolution", seeing("MobileNetV1ForImageClassification", "MobileNetV1Config", task=LARGE_IMAGES, depth_multiplier=0.125, min_depth=8, num_labels=CLASSES)),
    ("RegNet", "convolution", seeing("RegNetForImageClassification", "RegNetConfig", task=LARGE_IMAGES, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 2], groups_width=8, num_labels=CLASSES)),
]  # fmt: skip

SLOW = {"encoder": 300, "convolution": 120}
CASES = [
    Case(name, family, build, steps=SLOW.get(family, 60), judged=("start", "trained")) for name, family, build in TABLE
]

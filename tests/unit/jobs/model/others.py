"""Small models that transformers makes and saves, then changed as exporters and other teams leave them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Weights = dict[str, Tensor]
GONE = object()
"""A key that config.json does not have."""
DECODER = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 50,
    "max_position_embeddings": 64,
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "n_positions": 64},
    "llama": DECODER,
    "qwen3": DECODER | {"num_key_value_heads": 2, "head_dim": 16},
    "olmo2": DECODER,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50},
}


@dataclass(frozen=True)
class Other:
    """A model of one family: its settings, how it is saved, and what is changed in its files afterwards."""

    family: str
    settings: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    weights: Callable[[Weights], Weights | None] | None = None
    dtype: torch.dtype = torch.float32
    bare: bool = False
    shard: str = "1GB"

    def save(self, folder: Path) -> None:
        """Random weights, norms and biases too: one that is in the wrong place shows."""
        from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

        torch.manual_seed(5)
        kind = AutoModel if self.bare else AutoModelForCausalLM
        model = kind.from_config(AutoConfig.for_model(self.family, **SIZES[self.family] | self.settings))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0.5 if parameter.dim() == 1 else 0.0, 0.3)
        model.to(self.dtype).save_pretrained(folder, max_shard_size=self.shard)
        if self.config:
            given = json.loads((folder / "config.json").read_text()) | self.config
            given = {key: value for key, value in given.items() if value is not GONE}
            (folder / "config.json").write_text(json.dumps(given))
        if self.weights is not None:
            tensors = load_file(folder / "model.safetensors")
            changed = self.weights(tensors)
            save_file(tensors if changed is None else changed, folder / "model.safetensors", metadata={"format": "pt"})


def rope(kind: str, **more: Any) -> dict[str, Any]:
    """The new spelling."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


def old_rope(name: str, kind: str, theta: Any = 10000.0, **more: Any) -> dict[str, Any]:
    """The old spelling; even older is `type` for `rope_type`."""
    return {"rope_parameters": GONE, "rope_theta": theta, "rope_scaling": {name: kind, **more}}


def copied_head(weights: Weights) -> None:
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()


def head_alone(weights: Weights) -> None:
    weights["lm_head.weight"] = weights.pop("model.embed_tokens.weight")


def other_head(weights: Weights) -> None:
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].flip(0).contiguous()


def no_number(weights: Weights) -> None:
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = torch.nan


def infinite(weights: Weights) -> None:
    weights["model.norm.weight"][0] = -torch.inf


def whole_numbers(weights: Weights) -> None:
    weights["model.layers.0.self_attn.q_proj.weight"] = torch.ones(32, 32, dtype=torch.int8)


def eight_bits(weights: Weights) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"
    weights[name] = weights[name].to(torch.float8_e4m3fn)


def buffers(weights: Weights) -> None:
    for layer in range(2):
        weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
WINDOW = {"use_sliding_window": True, "sliding_window": 8}
READ: dict[str, Other] = {
    "gpt2": Other("gpt2"),
    "gpt2 untied": Other("gpt2", {"tie_word_embeddings": False}),
    "gpt2 with a width of its own inside": Other("gpt2", {"n_inner": 48}),
    "gpt2 with exact gelu": Other("gpt2", {"activation_function": "gelu"}),
    "gpt2 with gelu in python": Other("gpt2", {"activation_function": "gelu_python"}),
    "gpt2 with accurate gelu": Other("gpt2", {"activation_function": "gelu_accurate"}),
    "gpt2 with squared relu": Other("gpt2", {"activation_function": "relu2"}),
    "gpt2 upcast": Other("gpt2", {"reorder_and_upcast_attn": True}),
    "gpt2 with another epsilon": Other("gpt2", {"layer_norm_epsilon": 1e-2}),
    "gpt2 by other names": Other(
        "gpt2",
        config={
            "n_embd": GONE, "hidden_size": 32, "n_layer": GONE, "num_hidden_layers": 2, "n_head": GONE,
            "num_attention_heads": 4, "n_positions": GONE, "max_position_embeddings": 64,
        },
    ),
    "gpt2 without defaults": Other("gpt2", config={"layer_norm_epsilon": GONE, "activation_function": GONE, "n_inner": GONE}),
    "gpt2 bare": Other("gpt2", bare=True),
    "llama": Other("llama"),
    "llama tied": Other("llama", {"tie_word_embeddings": True}),
    "llama tied, with a copy": Other("llama", {"tie_word_embeddings": True}, weights=copied_head),
    "llama tied, the head alone": Other("llama", {"tie_word_embeddings": True}, weights=head_alone),
    "llama with two heads of keys": Other("llama", {"num_key_value_heads": 2}),
    "llama without defaults": Other("llama", config={"num_key_value_heads": GONE, "head_dim": GONE, "rms_norm_eps": GONE}),
    "llama with old buffers": Other("llama", weights=buffers),
    "llama in bfloat16": Other("llama", dtype=torch.bfloat16),
    "llama in float16, in shards": Other("llama", dtype=torch.float16, shard="10KB"),
    "llama bare, tied": Other("llama", {"tie_word_embeddings": True}, bare=True),
    "llama with biases of attention": Other("llama", {"attention_bias": True}),
    "llama with all biases": Other("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama with gelu": Other("llama", {"hidden_act": "gelu"}),
    "llama with wide heads": Other("llama", {"head_dim": 12}),
    "llama with slices": Other("llama", {"pretraining_tp": 2}),
    "llama with theta": Other("llama", rope("default", rope_theta=500000.0)),
    "llama with theta on top": Other("llama", config={"rope_parameters": GONE, "rope_theta": 500000.0}),
    "llama with theta on top, a whole number": Other("llama", config={"rope_parameters": {"rope_type": "default"}, "rope_theta": 500000}),
    "llama without any theta": Other("llama", config={"rope_parameters": GONE}),
    "llama with a part that plain positions ignore": Other("llama", rope("default", partial_rotary_factor=0.5)),
    "llama linear": Other("llama", rope("linear", factor=4.0)),
    "llama linear, old": Other("llama", config=old_rope("rope_type", "linear", factor=4)),
    "llama linear, oldest": Other("llama", config=old_rope("type", "linear", factor=4.0)),
    "llama both spellings, differing": Other(
        "llama",
        config=rope("default") | {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    ),
    "llama3": Other("llama", rope("llama3", original_max_position_embeddings=16, **LLAMA3)),
    "llama3 without original": Other("llama", rope("llama3", **LLAMA3)),
    "llama3 without original, old": Other("llama", config=old_rope("rope_type", "llama3", **LLAMA3)),
    "yarn": Other("llama", rope("yarn", factor=4.0, original_max_position_embeddings=16)),
    "yarn without original": Other("llama", config=rope("yarn", factor=4.0)),
    "yarn without original, old": Other("llama", config=old_rope("rope_type", "yarn", factor=4.0)),
    "yarn without original, oldest": Other("llama", config=old_rope("type", "yarn", factor=4.0)),
    "yarn with original on top": Other(
        "llama", config=old_rope("rope_type", "yarn", factor=4.0) | {"original_max_position_embeddings": 32}
    ),
    "yarn with original twice": Other(
        "llama", config=rope("yarn", factor=4.0, original_max_position_embeddings=16) | {"original_max_position_embeddings": 32}
    ),
    "yarn with betas": Other("llama", rope("yarn", factor=4, original_max_position_embeddings=32, beta_fast=16, beta_slow=2)),
    "yarn with null betas": Other("llama", config=rope("yarn", factor=4.0, beta_fast=None, beta_slow=0)),
    "yarn with its own attention factor": Other("llama", rope("yarn", factor=4.0, attention_factor=1.1386294361119891)),
    "yarn with one mscale": Other("llama", rope("yarn", factor=4.0, mscale=0.7)),
    "qwen3": Other("qwen3"),
    "qwen3 tied, with biases": Other("qwen3", {"tie_word_embeddings": True, "attention_bias": True}),
    "qwen3 with as many heads of keys": Other("qwen3", {"num_attention_heads": 32, "num_key_value_heads": 32}),
    "qwen3 without a width of heads": Other("qwen3", {"head_dim": 128}, {"head_dim": GONE}),
    "qwen3 with windows": Other("qwen3", WINDOW | {"max_window_layers": 0}),
    "qwen3 with windows, without types": Other("qwen3", WINDOW | {"max_window_layers": 0}, {"layer_types": GONE}),
    "qwen3 with windows above its layers": Other("qwen3", WINDOW | {"max_window_layers": 2}),
    "qwen3 with an unused window": Other("qwen3", {"use_sliding_window": False, "sliding_window": 8}),
    "qwen3 yarn, old": Other("qwen3", config=old_rope("type", "yarn", 1000000, factor=4.0, original_max_position_embeddings=16)),
    "olmo2": Other("olmo2"),
    "olmo2 tied, two heads of keys": Other("olmo2", {"tie_word_embeddings": True, "num_key_value_heads": 2}),
    "olmo2 with biases": Other("olmo2", {"attention_bias": True}),
    "olmo2 with theta": Other("olmo2", rope("default", rope_theta=500000.0)),
    "olmo2 with wide heads": Other("olmo2", {"head_dim": 12}),
    "olmo2 without epsilon": Other("olmo2", config={"rms_norm_eps": GONE, "num_key_value_heads": GONE}),
    "bloom": Other("bloom"),
    "bloom untied": Other("bloom", {"tie_word_embeddings": False}),
    "bloom with six heads": Other("bloom", {"hidden_size": 48, "n_head": 6}),
    "bloom by its old name": Other("bloom", config={"hidden_size": GONE, "n_embed": 32}),
    "bloom by other names": Other(
        "bloom", config={"n_layer": GONE, "num_hidden_layers": 2, "n_head": GONE, "num_attention_heads": 4}
    ),
    "bloom exact, of one part": Other("bloom", {"slow_but_exact": True, "pretraining_tp": 1}),
    "bloom of two parts": Other("bloom", {"pretraining_tp": 2}),
    "bloom bare, in bfloat16": Other("bloom", dtype=torch.bfloat16, bare=True),
}  # fmt: skip
"""What is read, with the same logits."""
REFUSED: dict[str, tuple[Other, str]] = {
    "gpt2 scaled by layer": (Other("gpt2", {"scale_attn_by_inverse_layer_idx": True}), "`scale_attn_by_inverse_layer_idx` is True"),
    "gpt2 without scale": (Other("gpt2", {"scale_attn_weights": False}), "`scale_attn_weights` is False"),
    "gpt2 with another activation": (Other("gpt2", {"activation_function": "relu"}), "`activation_function`: activation 'relu'"),
    "llama dynamic": (Other("llama", rope("dynamic", factor=4.0)), "`rope_parameters.rope_type` is 'dynamic'"),
    "llama with a part of each head": (
        Other("llama", rope("linear", factor=2.0, partial_rotary_factor=0.5)), "`rope_parameters.partial_rotary_factor` is 0.5"
    ),
    "llama with a part of each head, on top": (
        Other("llama", config=old_rope("type", "linear", factor=2.0) | {"partial_rotary_factor": 0.5}),
        "`rope_parameters.partial_rotary_factor` is 0.5",
    ),
    "llama with biases in the feed-forward block": (Other("llama", {"mlp_bias": True}), "`mlp_bias` without `attention_bias`"),
    "llama tied, with a head of its own": (
        Other("llama", {"tie_word_embeddings": True}, weights=other_head),
        "`tie_word_embeddings` is true, but the weights' `lm_head.weight` is not their `model.embed_tokens.weight`",
    ),
    "llama without its head": (
        Other("llama", config={"tie_word_embeddings": False}, bare=True), "weights: `lm_head.weight` is missing"
    ),
    "llama that sees what follows": (Other("llama", config={"is_causal": False}), "`is_causal` is False"),
    "llama with other layers": (
        Other("llama", config={"per_layer_config": {"1": {"num_key_value_heads": 2}}}), "`per_layer_config` is {'1'"
    ),
    "llama quantized": (
        Other("llama", config={"quantization_config": {"quant_method": "gptq", "bits": 4}}), "`quantization_config` is {'quant"
    ),
    "llama in int8": (Other("llama", weights=whole_numbers), "weights: `model.layers.0.self_attn.q_proj.weight` is torch.int8"),
    "llama in float8": (
        Other("llama", weights=eight_bits), "weights: `model.layers.0.self_attn.q_proj.weight` is torch.float8_e4m3fn"
    ),
    "llama with a weight that is no number": (
        Other("llama", weights=no_number), "weights: `blocks.1.feed_forward.up.weight` holds values that are not finite"
    ),
    "llama with an infinite weight": (Other("llama", weights=infinite), "weights: `norm.weight` holds values that are not finite"),
    "yarn with another attention factor": (
        Other("llama", rope("yarn", factor=4.0, attention_factor=1.0)), "`rope_parameters.attention_factor` is 1.0"
    ),
    "yarn with two mscales": (Other("llama", rope("yarn", factor=4.0, mscale=1.0, mscale_all_dim=0.5)), "`rope_parameters.mscale_all_dim`"),
    "yarn without whole dimensions": (Other("llama", rope("yarn", factor=4.0, truncate=False)), "`rope_parameters.truncate` is False"),
    "yarn upside down": (
        Other("llama", rope("yarn", factor=4.0, beta_fast=1, beta_slow=32)), "`beta_fast` and `beta_slow` are in no order"
    ),
    "llama3 upside down": (
        Other("llama", rope("llama3", factor=8.0, low_freq_factor=4.0, high_freq_factor=1.0)), "`high_freq_factor` is 1.0"
    ),
    "qwen3 with windows in some layers": (Other("qwen3", WINDOW | {"max_window_layers": 1}), "`layer_types` has ['full_attention'"),
    "bloom exact, of two parts": (Other("bloom", {"slow_but_exact": True, "pretraining_tp": 2}), "`slow_but_exact` is True"),
    "bloom with another residual": (
        Other("bloom", {"apply_residual_connection_post_layernorm": True}), "`apply_residual_connection_post_layernorm` is True"
    ),
}  # fmt: skip
"""What is refused, and the words that name why."""

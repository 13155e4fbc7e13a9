"""Llama, Qwen 3 and OLMo 2: the same names of tensors, each with norms in other places."""

from typing import Any

from llmtrain.api.model import Biases, NormKind, NormPlacement, PositionKind, QueryKeyNorm
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.huggingface.activations import TO_NAME, activation
from llmtrain_jobs.model.huggingface.family import (
    Config,
    Entry,
    Family,
    flag,
    layered,
    real,
    require,
    same,
    shown,
    whole,
    with_bias,
)
from llmtrain_jobs.model.huggingface.rope import check_ramp
from llmtrain_jobs.model.huggingface.rope import from_config as rope_from
from llmtrain_jobs.model.huggingface.rope import to_config as rope_to

COMMON: dict[str, tuple[Any, ...]] = {
    "norm": (NormKind.RMS_NORM,),
    "placement": (NormPlacement.PRE,),
    "gated": (True,),
    "positions": (PositionKind.ROPE,),
    "embedding_norm": (False,),
    "logit_soft_cap": (0.0,),
}
LLAMA_REQUIRES = COMMON | {
    "query_key_norm": (QueryKeyNorm.NONE,),
    "sliding_window": (0,),
    "biases": (Biases.NONE, Biases.ATTENTION, Biases.ALL),
}
QWEN3_REQUIRES = COMMON | {
    "query_key_norm": (QueryKeyNorm.HEAD,),
    "biases": (Biases.NONE, Biases.ATTENTION),
}
OLMO2_REQUIRES = COMMON | {
    "placement": (NormPlacement.OUTPUT,),
    "query_key_norm": (QueryKeyNorm.WIDTH,),
    "sliding_window": (0,),
    "biases": (Biases.NONE, Biases.ATTENTION),
}

FULL, WINDOWED = "full_attention", "sliding_attention"
"""Qwen 3's names for what a layer sees."""


def _divides(config: ModelConfig) -> list[str]:
    """transformers wants it although `head_dim` makes it needless."""
    if config.embedding % config.heads:
        return [f"`embedding` is {config.embedding}, it must be a multiple of `heads`, {config.heads}"]
    return []


def _heads_fill(config: ModelConfig) -> list[str]:
    if config.heads * config.width != config.embedding:
        return [f"`headWidth` is {config.width}, OLMo 2 has `embedding` / `heads`"]
    return []


def _common(config: ModelConfig, architecture: str) -> Config:
    return {
        "architectures": [architecture],
        "vocab_size": config.vocabulary,
        "hidden_size": config.embedding,
        "intermediate_size": config.feed_forward,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.groups,
        "hidden_act": TO_NAME[config.activation],
        "max_position_embeddings": config.context,
        "initializer_range": config.initial_std,
        "rms_norm_eps": config.norm_epsilon,
        "attention_bias": config.output_bias,
        "attention_dropout": config.dropout,
        "tie_word_embeddings": config.tied,
    } | rope_to(config.rope)


def _llama_to(config: ModelConfig) -> Config:
    return _common(config, "LlamaForCausalLM") | {"head_dim": config.width, "mlp_bias": config.feed_forward_bias}


def _qwen3_to(config: ModelConfig) -> Config:
    kind = WINDOWED if config.sliding_window else FULL
    return _common(config, "Qwen3ForCausalLM") | {
        "head_dim": config.width,
        "use_sliding_window": config.sliding_window > 0,
        "sliding_window": config.sliding_window or None,
        "max_window_layers": 0 if config.sliding_window else config.layers,
        "layer_types": [kind] * config.layers,
    }


def _olmo2_to(config: ModelConfig) -> Config:
    return _common(config, "Olmo2ForCausalLM")


def _dimensions(given: Config, biases: Biases, **family: Any) -> ModelConfig:
    """What the three have in common."""
    config = ModelConfig(
        layers=whole(given, "num_hidden_layers", "layers"),
        heads=whole(given, "num_attention_heads", "heads"),
        key_value_heads=whole(given, "num_key_value_heads", "key_value_heads"),
        embedding=whole(given, "hidden_size", "embedding"),
        feed_forward=whole(given, "intermediate_size", "feed_forward"),
        context=whole(given, "max_position_embeddings"),
        vocabulary=whole(given, "vocab_size"),
        head_width=0 if given.get("head_dim") is None else whole(given, "head_dim", "head_width"),
        norm=NormKind.RMS_NORM,
        norm_epsilon=real(given, "rms_norm_eps", 0),
        activation=activation(given, "hidden_act"),
        gated=True,
        positions=PositionKind.ROPE,
        rope=rope_from(given),
        biases=biases,
        tied=flag(given, "tie_word_embeddings"),
        **family,
    )
    check_ramp(config.rope, config.width)
    return config


def _llama_from(given: Config) -> ModelConfig:
    attention, mlp = flag(given, "attention_bias"), flag(given, "mlp_bias")
    if mlp and not attention:
        raise bad_input("config.json: `mlp_bias` without `attention_bias` cannot be imported")
    return _dimensions(given, Biases.ALL if mlp else Biases.ATTENTION if attention else Biases.NONE)


def _attention_biases(given: Config) -> Biases:
    return Biases.ATTENTION if flag(given, "attention_bias") else Biases.NONE


def _qwen3_from(given: Config) -> ModelConfig:
    kinds = given.get("layer_types") or []
    odd = [kind for kind in kinds if kind not in (FULL, WINDOWED)]
    if odd or (FULL in kinds and WINDOWED in kinds):
        raise bad_input(
            f"config.json: `layer_types` has {shown(odd[0] if odd else list(dict.fromkeys(kinds)))}; "
            f"only {FULL} in every layer, or {WINDOWED} in every layer, can be imported"
        )
    return _dimensions(
        given,
        _attention_biases(given),
        query_key_norm=QueryKeyNorm.HEAD,
        sliding_window=whole(given, "sliding_window", "sliding_window") if WINDOWED in kinds else 0,
    )


def _olmo2_from(given: Config) -> ModelConfig:
    require(given, "OLMo 2", {"clip_qkv": (None,)})
    return _dimensions(
        given, _attention_biases(given), placement=NormPlacement.OUTPUT, query_key_norm=QueryKeyNorm.WIDTH
    )


LLAMA_NORMS = {"input_layernorm": "attention_norm", "post_attention_layernorm": "feed_forward_norm"}
OLMO2_NORMS = {
    "post_attention_layernorm": "attention_output_norm",
    "post_feedforward_layernorm": "feed_forward_output_norm",
}


def _entries(config: ModelConfig) -> list[Entry]:
    block, ours = "model.layers.{i}", "blocks.{i}"
    norms = OLMO2_NORMS if config.placement is NormPlacement.OUTPUT else LLAMA_NORMS
    projections = {"q": ("query", config.query_bias), "k": ("key", config.query_bias),
                   "v": ("value", config.query_bias), "o": ("output", config.output_bias)}  # fmt: skip
    blocks = [same(f"{block}.{theirs}.weight", f"{ours}.{name}.weight") for theirs, name in norms.items()]
    for letter, (name, bias) in projections.items():
        blocks += with_bias(same, f"{block}.self_attn.{letter}_proj", f"{ours}.attention.{name}", bias)
    if config.query_key_norm is not QueryKeyNorm.NONE:
        blocks.append(same(f"{block}.self_attn.q_norm.weight", f"{ours}.attention.query_norm.weight"))
        blocks.append(same(f"{block}.self_attn.k_norm.weight", f"{ours}.attention.key_norm.weight"))
    for name in ("up", "gate", "down"):
        blocks += with_bias(same, f"{block}.mlp.{name}_proj", f"{ours}.feed_forward.{name}", config.feed_forward_bias)
    return [
        same("model.embed_tokens.weight", "embedding.tokens.weight"),
        *layered(blocks, config.layers),
        same("model.norm.weight", "norm.weight"),
        *([] if config.tied else [same("lm_head.weight", "output.weight")]),
    ]


LLAMA = Family("Llama", "llama", "model.", LLAMA_REQUIRES, _divides, _llama_to, _llama_from, _entries)
QWEN3 = Family("Qwen 3", "qwen3", "model.", QWEN3_REQUIRES, lambda _: [], _qwen3_to, _qwen3_from, _entries)
OLMO2 = Family("OLMo 2", "olmo2", "model.", OLMO2_REQUIRES, _heads_fill, _olmo2_to, _olmo2_from, _entries)

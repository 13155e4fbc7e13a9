"""BLOOM (BigScience 2022), which BloombergGPT is built like: ALiBi, norm of the embedding, heads interleaved."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llmtrain.api.model import ActivationKind, Biases, NormKind, NormPlacement, PositionKind, QueryKeyNorm
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.huggingface.family import (
    Config,
    Entry,
    Family,
    flag,
    layered,
    real,
    require,
    same,
    whole,
    with_bias,
)
from llmtrain_jobs.model.huggingface.gpt2 import PARTS, plain_heads

REQUIRES = {
    "norm": (NormKind.LAYER_NORM,),
    "placement": (NormPlacement.PRE,),
    "activation": (ActivationKind.GELU_TANH,),
    "gated": (False,),
    "positions": (PositionKind.ALIBI,),
    "query_key_norm": (QueryKeyNorm.NONE,),
    "sliding_window": (0,),
    "embedding_norm": (True,),
    "biases": (Biases.ALL,),
    "logit_soft_cap": (0.0,),
}
IMPORTABLE = {"apply_residual_connection_post_layernorm": (False,)}
EXACT = {"slow_but_exact": (False,)}
"""Where it is true, transformers leaves out the biases of what is computed in several parts."""
CONTEXT = 2048
"""BLOOM's config does not say how long its context was in training; this is BLOOM's own."""


def _also(config: ModelConfig) -> list[str]:
    wrong = plain_heads(config)
    if config.feed_forward != 4 * config.embedding:
        wrong.append(f"`feedForward` is {config.feed_forward}, BLOOM has 4 x `embedding`")
    return wrong


def _to_config(config: ModelConfig) -> Config:
    return {
        "architectures": ["BloomForCausalLM"],
        "vocab_size": config.vocabulary,
        "hidden_size": config.embedding,
        "n_layer": config.layers,
        "n_head": config.heads,
        "layer_norm_epsilon": config.norm_epsilon,
        "initializer_range": config.initial_std,
        "hidden_dropout": config.dropout,
        "attention_dropout": config.dropout,
        "seq_length": config.context,
        "tie_word_embeddings": config.tied,
    }


def _from_config(given: Config) -> ModelConfig:
    require(given, "BLOOM", IMPORTABLE)
    if given.get("pretraining_tp") not in (None, 1):
        require(given, "BLOOM", EXACT)
    width = whole(given, "hidden_size", "embedding")
    return ModelConfig(
        layers=whole(given, "n_layer", "layers"),
        heads=whole(given, "n_head", "heads"),
        embedding=width,
        feed_forward=4 * width,
        context=CONTEXT if given.get("seq_length") is None else whole(given, "seq_length"),
        vocabulary=whole(given, "vocab_size"),
        positions=PositionKind.ALIBI,
        embedding_norm=True,
        norm_epsilon=real(given, "layer_norm_epsilon", 0),
        tied=flag(given, "tie_word_embeddings"),
    )


def _pack(parts: Sequence[Tensor], config: ModelConfig) -> Tensor:
    """(H, 3, K, ...): each head's query, key and value lie side by side."""
    heads = [part.reshape(config.heads, config.width, *part.shape[1:]) for part in parts]
    return torch.stack(heads, dim=1).flatten(0, 2)


def _unpack(whole: Tensor, config: ModelConfig) -> Sequence[Tensor]:
    heads = whole.reshape(config.heads, 3, config.width, *whole.shape[1:])
    return [heads[:, part].flatten(0, 1) for part in range(3)]


def _entries(config: ModelConfig) -> list[Entry]:
    block, ours = "transformer.h.{i}", "blocks.{i}"
    fused = [
        Entry(
            f"{block}.self_attention.query_key_value.{kind}",
            tuple(f"{ours}.attention.{part}.{kind}" for part in PARTS),
            _pack,
            _unpack,
        )
        for kind in ("weight", "bias")
    ]
    blocks = [
        *with_bias(same, f"{block}.input_layernorm", f"{ours}.attention_norm", True),
        *fused,
        *with_bias(same, f"{block}.self_attention.dense", f"{ours}.attention.output", True),
        *with_bias(same, f"{block}.post_attention_layernorm", f"{ours}.feed_forward_norm", True),
        *with_bias(same, f"{block}.mlp.dense_h_to_4h", f"{ours}.feed_forward.up", True),
        *with_bias(same, f"{block}.mlp.dense_4h_to_h", f"{ours}.feed_forward.down", True),
    ]
    return [
        same("transformer.word_embeddings.weight", "embedding.tokens.weight"),
        *with_bias(same, "transformer.word_embeddings_layernorm", "embedding.norm", True),
        *layered(blocks, config.layers),
        *with_bias(same, "transformer.ln_f", "norm", True),
        *([] if config.tied else [same("lm_head.weight", "output.weight")]),
    ]


BLOOM = Family("BLOOM", "bloom", "transformer.", REQUIRES, _also, _to_config, _from_config, _entries)

"""GPT-2 (Radford et al. 2019): queries, keys and values in one matrix, all matrices kept as (inputs, outputs)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llmtrain.api.model import Biases, NormKind, NormPlacement, PositionKind, QueryKeyNorm
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
    transposed,
    whole,
    with_bias,
)

REQUIRES = {
    "norm": (NormKind.LAYER_NORM,),
    "placement": (NormPlacement.PRE,),
    "gated": (False,),
    "positions": (PositionKind.LEARNED,),
    "query_key_norm": (QueryKeyNorm.NONE,),
    "sliding_window": (0,),
    "embedding_norm": (False,),
    "biases": (Biases.ALL,),
    "logit_soft_cap": (0.0,),
}
IMPORTABLE = {
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
PARTS = ("query", "key", "value")


def plain_heads(config: ModelConfig) -> list[str]:
    """As many heads of keys and values as of queries, and heads that fill the embedding."""
    wrong = []
    if config.groups != config.heads:
        wrong.append(f"`keyValueHeads` is {config.groups}, it must be `heads`, {config.heads}")
    if config.heads * config.width != config.embedding:
        wrong.append(f"`headWidth` is {config.width}, it must be `embedding` / `heads`")
    return wrong


def _to_config(config: ModelConfig) -> Config:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocabulary,
        "n_positions": config.context,
        "n_ctx": config.context,
        "n_embd": config.embedding,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.feed_forward,
        "activation_function": TO_NAME[config.activation],
        "layer_norm_epsilon": config.norm_epsilon,
        "initializer_range": config.initial_std,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "tie_word_embeddings": config.tied,
    }


def _from_config(given: Config) -> ModelConfig:
    require(given, "GPT-2", IMPORTABLE)
    width = whole(given, "n_embd", "embedding")
    return ModelConfig(
        layers=whole(given, "n_layer", "layers"),
        heads=whole(given, "n_head", "heads"),
        embedding=width,
        feed_forward=4 * width if given.get("n_inner") is None else whole(given, "n_inner", "feed_forward"),
        context=whole(given, "n_positions"),
        vocabulary=whole(given, "vocab_size"),
        norm_epsilon=real(given, "layer_norm_epsilon", 0),
        activation=activation(given, "activation_function"),
        tied=flag(given, "tie_word_embeddings"),
    )


def _pack_matrix(parts: Sequence[Tensor], _: ModelConfig) -> Tensor:
    return torch.cat(tuple(parts), dim=0).t()


def _unpack_matrix(whole: Tensor, _: ModelConfig) -> Sequence[Tensor]:
    return whole.t().chunk(3, dim=0)


def _pack_bias(parts: Sequence[Tensor], _: ModelConfig) -> Tensor:
    return torch.cat(tuple(parts), dim=0)


def _unpack_bias(whole: Tensor, _: ModelConfig) -> Sequence[Tensor]:
    return whole.chunk(3, dim=0)


def _entries(config: ModelConfig) -> list[Entry]:
    block, ours = "transformer.h.{i}", "blocks.{i}"
    weights = tuple(f"{ours}.attention.{part}.weight" for part in PARTS)
    biases = tuple(f"{ours}.attention.{part}.bias" for part in PARTS)
    blocks = [
        *with_bias(same, f"{block}.ln_1", f"{ours}.attention_norm", True),
        Entry(f"{block}.attn.c_attn.weight", weights, _pack_matrix, _unpack_matrix),
        Entry(f"{block}.attn.c_attn.bias", biases, _pack_bias, _unpack_bias),
        *with_bias(transposed, f"{block}.attn.c_proj", f"{ours}.attention.output", True),
        *with_bias(same, f"{block}.ln_2", f"{ours}.feed_forward_norm", True),
        *with_bias(transposed, f"{block}.mlp.c_fc", f"{ours}.feed_forward.up", True),
        *with_bias(transposed, f"{block}.mlp.c_proj", f"{ours}.feed_forward.down", True),
    ]
    return [
        same("transformer.wte.weight", "embedding.tokens.weight"),
        same("transformer.wpe.weight", "embedding.positions.weight"),
        *layered(blocks, config.layers),
        *with_bias(same, "transformer.ln_f", "norm", True),
        *([] if config.tied else [same("lm_head.weight", "output.weight")]),
    ]


GPT2 = Family("GPT-2", "gpt2", "transformer.", REQUIRES, plain_heads, _to_config, _from_config, _entries)

"""Closed forms of a model's size and work. The tests hold them against the real module and published numbers."""

from enum import StrEnum

from llmtrain.api.dimensions import ModelConfig
from llmtrain.api.model import PositionKind, QueryKeyNorm


class Convention(StrEnum):
    """What counts as the work of one token in training, N being the parameters that multiply.

    SixN: 6 N (Kaplan et al. 2020). Palm: 6 N + 12 L H K T, attention as if it looked at all T positions (Chowdhery et
    al. 2022, appendix B; llm-foundry and torchtitan print their MFU so). Causal: 6 N + 12 L H K x the mean number of
    positions that a token does see, which is the work that has to be done.
    """

    SIX_N = "SixN"
    PALM = "Palm"
    CAUSAL = "Causal"


def block_matrices(config: ModelConfig) -> int:
    """Weights of one block's matrices."""
    heads = config.heads * config.width
    groups = config.groups * config.width
    attention = config.embedding * (2 * heads + 2 * groups)
    return attention + (3 if config.gated else 2) * config.embedding * config.feed_forward


def block_vectors(config: ModelConfig) -> int:
    """Biases and norms of one block."""
    heads, groups = config.heads * config.width, config.groups * config.width
    count = config.block_norms * norm_parameters(config)
    if config.query_bias:
        count += heads + 2 * groups
    if config.output_bias:
        count += config.embedding
    if config.feed_forward_bias:
        count += (2 if config.gated else 1) * config.feed_forward + config.embedding
    if config.query_key_norm is QueryKeyNorm.HEAD:
        count += 2 * config.width
    if config.query_key_norm is QueryKeyNorm.WIDTH:
        count += heads + groups
    return count


def norm_parameters(config: ModelConfig) -> int:
    """Parameters of one norm of the residual stream."""
    return config.embedding * (2 if config.norm_bias else 1)


def parameters(config: ModelConfig) -> int:
    """All parameters; a tied output counts once."""
    tokens = config.vocabulary * config.embedding * (1 if config.tied else 2)
    positions = config.context * config.embedding if config.positions is PositionKind.LEARNED else 0
    norms = (config.embedding_norm + config.final_norm) * norm_parameters(config)
    return tokens + positions + norms + config.layers * (block_matrices(config) + block_vectors(config))


def multiplying_parameters(config: ModelConfig) -> int:
    """N of 6 N: all parameters but embeddings that are only looked up. A tied embedding multiplies as the output."""
    looked_up = 0 if config.tied else config.vocabulary * config.embedding
    positions = config.context * config.embedding if config.positions is PositionKind.LEARNED else 0
    return parameters(config) - looked_up - positions


def mean_visible_positions(config: ModelConfig) -> float:
    """Positions that a token sees on average over a full context, itself included."""
    window = min(config.sliding_window or config.context, config.context)
    return window - window * (window - 1) / (2 * config.context)


def attention_flops(config: ModelConfig, positions: float) -> float:
    """Forward and backward of scores and weighted sum for one token that looks at `positions` others."""
    return 12 * config.layers * config.heads * config.width * positions


def flops_per_token(config: ModelConfig, convention: Convention) -> float:
    """FLOPs of forward and backward for one token."""
    matrices = 6 * multiplying_parameters(config)
    positions = {
        Convention.SIX_N: 0.0,
        Convention.PALM: float(config.context),
        Convention.CAUSAL: mean_visible_positions(config),
    }
    return matrices + attention_flops(config, positions[convention])


def forward_flops(config: ModelConfig, batch: int) -> int:
    """FLOPs of the matrix products of one forward pass over `batch` full contexts, attention without its mask."""
    matrices = config.layers * block_matrices(config) + config.vocabulary * config.embedding
    attention = 2 * config.layers * config.heads * config.width * config.context
    return 2 * batch * config.context * (matrices + attention)


def mfu(tokens_per_second: float, config: ModelConfig, peak_flops: float, convention: Convention) -> float:
    """Model FLOPs utilisation, 0 to 1; `peak_flops` of all accelerators together, FLOP/s."""
    return tokens_per_second * flops_per_token(config, convention) / peak_flops

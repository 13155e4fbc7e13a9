"""Closed forms of size and work. `tests/unit/model` checks them against published models and the real module."""

from llmtrain_jobs.model.config import ModelConfig


def parameters(config: ModelConfig) -> int:
    """All parameters; the head shares the token embedding."""
    d, f = config.embedding, config.feed_forward
    block = 4 * d * d + 4 * d + 2 * d * f + f + d + 4 * d
    return config.vocabulary * d + config.context * d + config.layers * block + 2 * d


def train_flops_per_token(config: ModelConfig) -> int:
    """6 N + 6 L d T: forward and backward of every matrix, and causal attention (half of PaLM's 12 L d T).

    N counts what multiplies: no input embedding lookup, no positions, but the output head.
    """
    d, f = config.embedding, config.feed_forward
    matrices = config.layers * (4 * d * d + 2 * d * f) + config.vocabulary * d
    return 6 * matrices + 6 * config.layers * d * config.context


def mfu(tokens_per_second: float, config: ModelConfig, peak_flops: float) -> float:
    """Model FLOPs utilisation, 0 to 1; `peak_flops` of all workers together, FLOP/s."""
    return tokens_per_second * train_flops_per_token(config) / peak_flops

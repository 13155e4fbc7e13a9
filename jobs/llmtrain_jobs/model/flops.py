"""What the loop reports as its speed: `llmtrain.api.counts` holds the closed forms."""

from llmtrain.api.counts import Convention, flops_per_token, parameters
from llmtrain.api.dimensions import ModelConfig

__all__ = ["Convention", "flops_per_token", "parameters", "train_flops_per_token"]


def train_flops_per_token(config: ModelConfig) -> int:
    """Forward and backward of one token: every matrix, and attention over what a token sees."""
    return round(flops_per_token(config, Convention.CAUSAL))

"""A decoder-only transformer, after GPT-2: pre-norm, learned positions, GELU, tied head.

Suffixes of tensors are their shapes: B batch, T positions, D embedding, H heads, K head width, V vocabulary.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmtrain_jobs.model.config import ModelConfig

INITIAL_STD = 0.02


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, config: ModelConfig) -> None:
        """Four matrices with biases."""
        super().__init__()
        self.heads = config.heads
        self.query_key_value = nn.Linear(config.embedding, 3 * config.embedding)
        self.output = nn.Linear(config.embedding, config.embedding)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        b, t, d = x_BTD.shape
        q_BTD, k_BTD, v_BTD = self.query_key_value(x_BTD).split(d, dim=2)
        q_BHTK, k_BHTK, v_BHTK = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in (q_BTD, k_BTD, v_BTD))
        y_BHTK = functional.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        mixed: Tensor = self.output(y_BHTK.transpose(1, 2).reshape(b, t, d))
        return mixed


class Block(nn.Module):
    """Attention and feed-forward, each on a normalised residual."""

    def __init__(self, config: ModelConfig) -> None:
        """One layer."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.embedding)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.LayerNorm(config.embedding)
        self.feed_forward = nn.Sequential(
            nn.Linear(config.embedding, config.feed_forward),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.feed_forward, config.embedding),
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD))
        out: Tensor = x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
        return out


class Transformer(nn.Module):
    """Token and position embeddings, blocks, a norm, and the token embedding again as head."""

    def __init__(self, config: ModelConfig) -> None:
        """Initialised from torch's generator: seed it first."""
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.embedding)
        self.positions = nn.Embedding(config.context, config.embedding)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.embedding)
        self.apply(_initialise)
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.output.weight", "feed_forward.2.weight")):
                nn.init.normal_(parameter, std=INITIAL_STD / math.sqrt(2 * config.layers))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits: (B, T) -> (B, T, V)."""
        positions_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_BTD = self.tokens(tokens_BT) + self.positions(positions_T)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return functional.linear(self.norm(x_BTD), self.tokens.weight)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def loss_sum(model: nn.Module, tokens_BT1: Tensor) -> Tensor:
    """Summed cross-entropy in nats of predicting each token from those before: (B, T+1) -> scalar."""
    logits_BTV = model(tokens_BT1[:, :-1])
    return functional.cross_entropy(logits_BTV.float().flatten(0, 1), tokens_BT1[:, 1:].flatten(), reduction="sum")

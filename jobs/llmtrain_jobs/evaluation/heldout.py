"""Perplexity and bits per byte on the held-out split."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from llmtrain_jobs.model.transformer import loss_sum

BATCH = 16


@torch.inference_mode()
def total_nats(model: nn.Module, tokens: NDArray[np.int64], context: int) -> float:
    """Summed cross-entropy in nats of every token but the first, in windows that do not overlap."""
    nats = 0.0
    whole = (len(tokens) - 1) // context
    starts = [index * context for index in range(whole)]
    for first in range(0, whole, BATCH):
        batch = np.stack([tokens[s : s + context + 1] for s in starts[first : first + BATCH]])
        nats += float(loss_sum(model, torch.from_numpy(batch)))
    rest = tokens[whole * context :]
    if len(rest) > 1:
        nats += float(loss_sum(model, torch.from_numpy(rest[None, :].copy())))
    return nats


def scores(nats: float, tokens: int, size: int) -> dict[str, float]:
    """Bits per byte (independent of the tokenizer) and perplexity by token, of `size` bytes in `tokens` tokens."""
    return {"bits_per_byte": nats / math.log(2) / size, "token_perplexity": math.exp(nats / max(1, tokens - 1))}

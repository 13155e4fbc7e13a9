"""A few steps of plain training, for tests that need a model that has learnt something."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.transformer import Transformer, loss_sum
from tokenizers import Tokenizer


def train(
    tokenizer: Tokenizer, texts: Sequence[str], steps: int, rows: int = 8, window: int = 64, **changes: int
) -> Transformer:
    """AdamW on random windows; the same start and order of data whatever the number of steps."""
    sizes: dict[str, Any] = {"layers": 2, "heads": 4, "embedding": 32, "feed_forward": 64, "context": 64} | changes
    config = ModelConfig(vocabulary=tokenizer.get_vocab_size(), **sizes)
    torch.manual_seed(0)
    model = Transformer(config)
    stream = torch.tensor([token for text in texts for token in [*tokenizer.encode(text).ids, 0]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draw = random.Random(0)
    for _ in range(steps):
        starts = [draw.randrange(len(stream) - window - 1) for _ in range(rows)]
        batch = torch.stack([stream[start : start + window + 1] for start in starts])
        loss = loss_sum(model, batch) / (rows * window)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return model.eval()

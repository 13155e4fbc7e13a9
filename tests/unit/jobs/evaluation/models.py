"""Small models and a tokenizer for the tests, made here, with random weights that are far from uniform."""

from typing import Any

import torch
from llmtrain_jobs.curation.tokens import train_tokenizer
from llmtrain_jobs.evaluation.adapter import CheckpointModel, Limits
from llmtrain_jobs.evaluation.backend import Loaded, LocalBackend
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer

WORDS = [
    "the",
    "a",
    "bank",
    "rose",
    "fell",
    "profit",
    "loss",
    "water",
    "sun",
    "moon",
    "tree",
    "river",
    "stone",
    "paper",
    "glass",
    "green",
    "blue",
    "because",
    "therefore",
    "question",
    "answer",
    "what",
    "which",
    "why",
    "how",
    "people",
    "market",
    "price",
    "share",
    "year",
    "day",
    "month",
    "gold",
    "oil",
    "energy",
    "food",
    "plant",
    "animal",
    "heat",
    "light",
]


def sentences(count: int, seed: int = 0, least: int = 4, most: int = 12) -> list[str]:
    """Sentences of random words."""
    generator = torch.Generator().manual_seed(seed)

    def draw(high: int) -> int:
        return int(torch.randint(high, (1,), generator=generator))

    return [" ".join(WORDS[draw(len(WORDS))] for _ in range(least + draw(most - least))) + "." for _ in range(count)]


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE as curation trains it."""
    return train_tokenizer(sentences(400), 400)


def make_model(vocabulary: int, context: int = 128, seed: int = 0, **changes: Any) -> Transformer:
    """Weights five times the usual ones, so that answers differ clearly."""
    config = ModelConfig(
        **{"layers": 2, "heads": 4, "embedding": 32, "feed_forward": 64, "context": context, "vocabulary": vocabulary}
        | changes
    )
    torch.manual_seed(seed)
    model = Transformer(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight") and parameter.dim() > 1:
                parameter.mul_(5)
    return model.eval()


def make_lm(tokenizer: Tokenizer, model: Transformer, budget: int = 1024) -> CheckpointModel:
    """The adapter over this process."""
    loaded = Loaded(model, tokenizer, torch.device("cpu"))
    limits = Limits(model.config.context, model.config.embedding, budget)
    return CheckpointModel(LocalBackend(loaded), tokenizer, limits)

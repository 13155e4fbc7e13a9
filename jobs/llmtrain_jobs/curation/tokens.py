"""Tokenizer and shards: byte-level BPE, tokens as little-endian integers, one end-of-text after each document."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"
SHARD_TOKENS = 50_000_000
ENCODE_BATCH = 1000
Tokens = NDArray[np.uint16] | NDArray[np.uint32]


def train_tokenizer(texts: Sequence[str], vocabulary_size: int) -> Tokenizer:
    """Byte-level BPE; every byte has a token, so that any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def dtype_of(vocabulary_size: int) -> str:
    """The smallest type that holds every token."""
    return "uint16" if vocabulary_size <= 65536 else "uint32"


def encode(tokenizer: Tokenizer, texts: Sequence[str], dtype: str) -> Tokens:
    """All texts in one array, each followed by end-of-text."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    parts = []
    for start in range(0, len(texts), ENCODE_BATCH):
        for encoding in tokenizer.encode_batch_fast(list(texts[start : start + ENCODE_BATCH])):
            parts.append(np.array([*encoding.ids, end], dtype=f"<{'u2' if dtype == 'uint16' else 'u4'}"))
    empty: Tokens = np.zeros(0, dtype="<u2")
    return np.concatenate(parts) if parts else empty


def shards(tokens: Tokens) -> list[bytes]:
    """Raw bytes of shards of equal size, the last one shorter."""
    return [tokens[start : start + SHARD_TOKENS].tobytes() for start in range(0, max(1, len(tokens)), SHARD_TOKENS)]


def unigram_bits_per_byte(train: Tokens, validation: Tokens, vocabulary_size: int, validation_bytes: int) -> float:
    """Bits per byte of a model that knows only how frequent each token is (add-one smoothed): the bar to beat."""
    counts = np.bincount(train, minlength=vocabulary_size).astype(np.float64) + 1.0
    bits = -np.log2(counts / counts.sum())
    return float(bits[validation].sum() / validation_bytes) if validation_bytes else math.inf

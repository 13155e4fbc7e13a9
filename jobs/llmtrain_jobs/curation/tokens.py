"""Tokenizer: byte-level BPE trained on a sample, or a given one; tokens as little-endian integers."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from llmtrain.api.curation import Curation
from llmtrain_jobs.errors import bad_input

END_OF_TEXT = "<|endoftext|>"
ENCODE_BATCH = 256
Tokens = NDArray[np.unsignedinteger[Any]]
"""uint16 or uint32."""


def train_tokenizer(texts: Iterable[str], vocabulary_size: int, special: Sequence[str] = (END_OF_TEXT,)) -> Tokenizer:
    """Byte-level BPE; every byte has a token, so that any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def given_tokenizer(data: bytes, file: str, end: str) -> Tokenizer:
    """A tokenizer.json; it must hold the token that ends a document."""
    try:
        tokenizer = Tokenizer.from_str(data.decode())
    except Exception as error:
        # tokenizers 0.23, written in Rust, raises Exception itself, no class of its own; anything more precise is not its word.
        if type(error) is not Exception and not isinstance(error, UnicodeDecodeError):
            raise
        raise bad_input(f"`spec.curation.tokenizer.file`: `{file}` is no tokenizer.json: {error}"[:900]) from error
    if tokenizer.token_to_id(end) is None:
        message = f"`{file}` has no token `{end}`; name its end of text first in `spec.curation.tokenizer.train.specialTokens`"
        raise bad_input(message)
    return tokenizer


def end_of(tokenizer: Tokenizer, curation: Curation) -> int:
    """The token that ends a document."""
    number = tokenizer.token_to_id(curation.tokenizer.train.special_tokens[0])
    if number is None:
        raise bad_input(f"`spec.curation.tokenizer`: no token `{curation.tokenizer.train.special_tokens[0]}`")
    return int(number)


def round_trip_share(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Share of the texts that come back from their tokens exactly; 1 if there are none."""
    same = sum(
        tokenizer.decode(encoding.ids, skip_special_tokens=False) == text
        for text, encoding in zip(texts, tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True)
    )
    return same / len(texts) if texts else 1.0


def dtype_of(vocabulary_size: int) -> str:
    """The smallest type that holds every token."""
    return "uint16" if vocabulary_size <= 65536 else "uint32"


def encode(tokenizer: Tokenizer, texts: Sequence[str], dtype: str, end: int) -> tuple[Tokens, NDArray[np.uint32]]:
    """All texts in one array, each followed by `end`; tokens of each text, its end too."""
    kind = np.dtype(dtype).newbyteorder("<")
    parts: list[Tokens] = [np.zeros(0, dtype=kind)]
    lengths: list[int] = []
    for start in range(0, len(texts), ENCODE_BATCH):
        batch = list(texts[start : start + ENCODE_BATCH])
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            parts.append(np.array([*encoding.ids, end], dtype=kind))
            lengths.append(len(parts[-1]))
    return np.concatenate(parts), np.array(lengths, dtype=np.uint32)


def unigram_bits_per_byte(train: NDArray[np.int64], validation: NDArray[np.int64], validation_bytes: int) -> float:
    """Bits per byte of a model that knows only how frequent each token is (add-one smoothed): the bar to beat.

    `train`, `validation`: how often each token of the vocabulary occurs.
    """
    smoothed = train.astype(np.float64) + 1.0
    bits = -np.log2(smoothed / smoothed.sum())
    return float((bits * validation).sum() / validation_bytes) if validation_bytes else math.inf

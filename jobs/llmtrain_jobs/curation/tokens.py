"""Tokenizer: byte-level BPE trained on a sample, or a given one; tokens as little-endian integers."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from llmtrain.api.curation import Curation
from llmtrain_jobs.errors import bad_input

END_OF_TEXT = "<|endoftext|>"
LARGEST_TABLE = 1_000_000
"""Rows that a given tokenizer's numbers may ask of a model; the largest vocabulary that can be trained has as many."""
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
    return for_documents(tokenizer)


def for_documents(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, set to encode documents.

    Nothing is cut, filled up, added or left to chance, and what looks like a special token in a text is text. That last
    setting is none of tokenizer.json: every tokenizer that encodes documents has to come through here.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if tokenizer.num_special_tokens_to_add(False):
        tokenizer.post_processor = None
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None
    tokenizer.encode_special_tokens = True
    return tokenizer


def loaded_tokenizer(data: bytes) -> Tokenizer:
    """One that was checked before, to encode documents."""
    return for_documents(Tokenizer.from_str(data.decode()))


def is_said_by_tokenizers(error: Exception) -> bool:
    """tokenizers 0.23, written in Rust, raises Exception itself, no class of its own; anything more precise is not its word."""
    return type(error) is Exception


def given_tokenizer(data: bytes, file: str, end: str) -> Tokenizer:
    """A tokenizer.json, to encode documents; raises bad input where it is none or lacks the token that ends a document."""
    check_head(data, file)
    try:
        tokenizer = loaded_tokenizer(data)
    except Exception as error:
        if not (is_said_by_tokenizers(error) or isinstance(error, UnicodeDecodeError)):
            raise
        raise bad_input(f"`spec.curation.tokenizer.file`: `{file}` is no tokenizer.json: {error}"[:900]) from error
    number = tokenizer.token_to_id(end)
    if number is None:
        message = f"`{file}` has no token `{end}`; name its end of text first in `spec.curation.tokenizer.train.specialTokens`"
        raise bad_input(message)
    if table_size(tokenizer) > LARGEST_TABLE:
        raise bad_input(
            f"`spec.curation.tokenizer.file`: `{file}` numbers its tokens up to {table_size(tokenizer) - 1}; "
            f"a model has a row for each number, and {LARGEST_TABLE} at most"
        )
    added = tokenizer.get_added_tokens_decoder().get(number)
    if added is None or not added.special:
        # Else a text that names its end would be cut there by whoever reads the tokens.
        tokenizer.add_special_tokens([AddedToken(end, special=True)])
    return tokenizer


def check_head(head: bytes, file: str) -> None:
    """Raises bad input where a file's first kilobyte cannot be the beginning of a tokenizer.json."""
    if is_sentencepiece(head):
        raise bad_input(
            f"`spec.curation.tokenizer.file`: `{file}` is a SentencePiece model; give the tokenizer.json that "
            "transformers' `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(OUT)` writes of it"
        )
    if not head.lstrip().startswith(b"{"):
        raise bad_input(
            f"`spec.curation.tokenizer.file`: `{file}` is no tokenizer.json: it does not begin with an object"
        )


def is_sentencepiece(data: bytes) -> bool:
    """It begins as SentencePiece's protocol buffer does: field 1, a piece, of field 1, its text, and field 2, a float."""
    return len(data) > 4 and data[0:4:2] == b"\n\n" and data[4 + data[3] : 5 + data[3]] == b"\x15"


def table_size(tokenizer: Tokenizer) -> int:
    """Rows that a model needs for it: one more than the largest number of a token. Numbers may be left out."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def end_of(tokenizer: Tokenizer, curation: Curation) -> int:
    """The token that ends a document."""
    number = tokenizer.token_to_id(curation.tokenizer.train.special_tokens[0])
    if number is None:
        raise bad_input(f"`spec.curation.tokenizer`: no token `{curation.tokenizer.train.special_tokens[0]}`")
    return int(number)


def round_trip_share(tokenizer: Tokenizer, texts: Sequence[str], end: int) -> float:
    """Share of the texts that come back from their tokens; 1 if there are none."""
    tokens, lengths = encode(tokenizer, texts, "uint32", end)
    return returned(tokenizer, texts, tokens, lengths) / len(texts) if texts else 1.0


def returned(tokenizer: Tokenizer, texts: Sequence[str], tokens: Tokens, lengths: NDArray[np.uint32]) -> int:
    """How many texts come back from what `encode` made of them, each character as it was or in its normal form."""
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    starts, same = [0, *ends], 0
    for first in range(0, len(texts), ENCODE_BATCH):
        places = range(first, min(first + ENCODE_BATCH, len(texts)))
        decoded = tokenizer.decode_batch(
            [tokens[starts[place] : ends[place] - 1].tolist() for place in places], skip_special_tokens=False
        )
        same += sum(_same(texts[place], text) for place, text in zip(places, decoded, strict=True))
    return same


def _same(one: str, other: str) -> bool:
    """Unicode's canonical equivalence: a tokenizer that composes (Qwen's NFC) or takes apart loses nothing."""
    if one == other or one.isascii():
        return one == other
    from llmtrain_jobs.curation.signals.characters import composed

    return composed(one) == composed(other)


def dtype_of(vocabulary_size: int) -> str:
    """The smallest type that holds every token."""
    return "uint16" if vocabulary_size <= 65536 else "uint32"


def encode(tokenizer: Tokenizer, texts: Sequence[str], dtype: str, end: int) -> tuple[Tokens, NDArray[np.uint32]]:
    """All texts in one array, each followed by `end`; tokens of each text, its end too.

    `end` stands nowhere else. A model whose own vocabulary makes it of a text loses it there, and the text does not
    come back from its tokens.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    parts: list[Tokens] = [np.zeros(0, dtype=kind)]
    lengths: list[int] = []
    for start in range(0, len(texts), ENCODE_BATCH):
        batch = list(texts[start : start + ENCODE_BATCH])
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            tokens = np.array([*encoding.ids, end], dtype=kind)
            staying = tokens != end
            staying[-1] = True
            parts.append(tokens if staying.all() else tokens[staying])
            lengths.append(len(parts[-1]))
    return np.concatenate(parts), np.array(lengths, dtype=np.uint32)


def unigram_bits_per_byte(train: NDArray[np.int64], validation: NDArray[np.int64], validation_bytes: int) -> float:
    """Bits per byte of a model that knows only how frequent each token is (add-one smoothed): the bar to beat.

    `train`, `validation`: how often each token of the vocabulary occurs.
    """
    smoothed = train.astype(np.float64) + 1.0
    bits = -np.log2(smoothed / smoothed.sum())
    return float((bits * validation).sum() / validation_bytes) if validation_bytes else math.inf

"""Perplexity and bits per byte of the held-out split: each document by itself, in the harness' rolling windows.

End-of-text is read before each document and never predicted, so that bytes and predictions are those of the text.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.finite import BEYOND, check_finite, exponential
from llmtrain_jobs.evaluation.results import TaskResult

BLOCK = 1 << 16
"""Tokens that are looked through at a time."""
LOWER_IS_BETTER = {"bits_per_byte": False, "token_perplexity": False, "unigram_bits_per_byte": False}


@dataclass(frozen=True)
class Document:
    """Tokens of one held-out document, its size in bytes of UTF-8, and the source it came from ("" where unknown)."""

    tokens: tuple[int, ...]
    size: int
    source: str = ""


def split_documents(
    shards: Iterable[NDArray[np.integer[Any]]], end: int, size_of: Callable[[Sequence[int]], int], source: str = ""
) -> Iterator[Document]:
    """Consecutive shards of tokens cut at end-of-text, read as far as is asked for; a document may go on in the next.

    `size_of` tells the bytes of a document's text.
    """
    begun: list[int] = []
    for tokens in shards:
        for place in range(0, len(tokens), BLOCK):
            block = tokens[place : place + BLOCK]
            *whole, rest = np.split(block, np.flatnonzero(block == end) + 1)
            for part in whole:
                text, begun = begun + part[:-1].tolist(), []
                if text:
                    yield Document(tuple(text), size_of(text), source)
            begun += rest.tolist()
    if begun:
        yield Document(tuple(begun), size_of(begun), source)


def scores(nats: Sequence[float], documents: Sequence[Document]) -> dict[str, float]:
    """Bits per byte (independent of the tokenizer) and perplexity by token; `nats` are minus the log-likelihoods."""
    total, size = sum(nats), sum(document.size for document in documents)
    count = sum(len(document.tokens) for document in documents)
    return {"bits_per_byte": total / math.log(2) / size, "token_perplexity": exponential(total / count)}


def bits_error(nats: Sequence[float], documents: Sequence[Document]) -> float:
    """Standard error of bits per byte, a ratio of sums over documents (Cochran 1977, 6.4)."""
    size = np.array([document.size for document in documents], dtype=np.float64)
    bits = np.array(nats) / math.log(2)
    rest = bits - bits.sum() / size.sum() * size
    n = len(documents)
    return float(math.sqrt(n / (n - 1) * float((rest**2).sum())) / size.sum())


def held_out_result(name: str, likelihoods: Sequence[float], documents: Sequence[Document]) -> TaskResult:
    """Scores of all documents, and of each source where there are several; raises where a likelihood is not finite."""
    if not documents:
        raise bad_input(
            f"`{name}`: the held-out split has no documents; see `spec.curation.validation`", "NothingHeldOut"
        )
    check_finite(likelihoods, "log-likelihoods are")
    nats = [-value for value in likelihoods]
    measured = scores(nats, documents)
    result = TaskResult(name, finite_of(measured), higher_is_better=dict(LOWER_IS_BETTER), count=len(documents))
    result.primary, result.left_out = "bits_per_byte", dict.fromkeys(measured.keys() - result.scores.keys(), BEYOND)
    if len(documents) > 1:
        result.errors["bits_per_byte"] = bits_error(nats, documents)
    for source in sorted({document.source for document in documents}):
        chosen = [index for index, document in enumerate(documents) if document.source == source]
        if source:
            result.parts[source] = finite_of(scores([nats[i] for i in chosen], [documents[i] for i in chosen]))
    return result


def finite_of(measured: Mapping[str, float]) -> dict[str, float]:
    """Without what is more than a number holds."""
    return {metric: value for metric, value in measured.items() if math.isfinite(value)}

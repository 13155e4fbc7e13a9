"""Metrics of our own, in the harness' calling convention: ROUGE by words of any script, perplexities that may be large."""

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import regex

from llmtrain.api.evaluationtasks import GenerationMetric
from llmtrain_jobs.evaluation.finite import exponential

UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
LETTERS = r"[\p{L}\p{M}\p{N}]"
WORD = regex.compile(rf"[{LETTERS}&&{UNSPACED}]\p{{M}}*|[{LETTERS}--{UNSPACED}]+", regex.V1)
"""Letters, digits and the marks on them. Of the scripts that put no blanks between words, each character is one."""
STEMMED_FROM = 4
"""Characters of the shortest word that is stemmed, as in `rouge_score`."""


def words(text: str) -> list[str]:
    """Words in lower case; English ones stemmed. Of ASCII text these are `rouge_score`'s own."""
    found = WORD.findall(unicodedata.normalize("NFC", text).lower())
    return [_stem(word) if len(word) >= STEMMED_FROM and word.isascii() else word for word in found]


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return str(_stemmer().stem(word))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


class _Words:
    """The tokenizer that the scorer is given."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=_Words())


def _f_measure(kind: str, references: Sequence[str], predictions: Sequence[str]) -> float:
    return float(_scorer().score(references[0], predictions[0])[kind].fmeasure)


def rouge1(references: Sequence[str], predictions: Sequence[str]) -> float:
    """F-measure of shared words."""
    return _f_measure("rouge1", references, predictions)


def rouge2(references: Sequence[str], predictions: Sequence[str]) -> float:
    """F-measure of shared pairs of words."""
    return _f_measure("rouge2", references, predictions)


def rouge_l(references: Sequence[str], predictions: Sequence[str]) -> float:
    """F-measure of the longest common subsequence of words."""
    return _f_measure("rougeL", references, predictions)


ROUGE: dict[GenerationMetric, Callable[[Sequence[str], Sequence[str]], float]] = {
    GenerationMetric.ROUGE_1: rouge1,
    GenerationMetric.ROUGE_2: rouge2,
    GenerationMetric.ROUGE_L: rouge_l,
}
"""The harness names a metric by its function's name."""


def perplexity(likelihoods: Sequence[float]) -> float:
    """e to the minus mean of log-likelihoods; infinite where no float holds it."""
    return exponential(-sum(likelihoods) / len(likelihoods))


def weighted_perplexity(items: Sequence[tuple[float, float]]) -> float:
    """The same of (log-likelihood, weight)."""
    likelihoods, weights = zip(*items, strict=True)
    return exponential(-sum(likelihoods) / sum(weights))

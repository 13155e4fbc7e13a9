"""ROUGE for generated text, as `rouge_score` computes it (with stemming), in the harness' calling convention."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from llmtrain.api.evaluationtasks import GenerationMetric


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)


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

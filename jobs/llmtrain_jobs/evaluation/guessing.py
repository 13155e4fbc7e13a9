"""What is reached without knowing anything: at random, by the shortest answer, by the commonest one.

Computed from the questions as they were asked, so that a score of a task of one's own has its bar as well.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from llmtrain_jobs.evaluation.results import Sample

RANDOM, SHORTEST, MAJORITY = "random", "shortest", "majority"


def of_choices(samples: Sequence[Sample]) -> dict[str, float]:
    """Accuracies on multiple-choice samples; a tie of shortest answers counts in shares."""
    asked = [sample for sample in samples if sample["choices"]]
    if not asked:
        return {}
    rights = [_right(sample) for sample in asked]
    chances = [Fraction(len(right), len(sample["choices"])) for right, sample in zip(rights, asked, strict=True)]
    shortest = [_shortest(sample["choices"], right) for right, sample in zip(rights, asked, strict=True)]
    return {RANDOM: _mean(chances), SHORTEST: _mean(shortest), MAJORITY: _majority(asked, rights)}


def _right(sample: Sample) -> list[int]:
    gold: Any = sample["gold"]
    return gold if isinstance(gold, list) else [gold]


def _shortest(choices: Sequence[str], right: Sequence[int]) -> Fraction:
    least = min(len(choice) for choice in choices)
    candidates = [number for number, choice in enumerate(choices) if len(choice) == least]
    return Fraction(len(set(candidates) & set(right)), len(candidates))


def _majority(samples: Sequence[Sample], rights: Sequence[Sequence[int]]) -> float:
    """The commonest answer: its text where all questions offer the same answers, else its place in the list."""
    same = len({tuple(sample["choices"]) for sample in samples}) == 1
    answers = Counter(
        sample["choices"][number] if same else number
        for sample, right in zip(samples, rights, strict=True)
        for number in right
    )
    commonest = answers.most_common(1)[0][1]
    return commonest / len(samples)


def of_texts(samples: Sequence[Sample]) -> dict[str, float]:
    """Exact match of the commonest expected text; at random nothing is matched."""
    counts = Counter(str(sample["gold"]) for sample in samples)
    return {RANDOM: 0.0, MAJORITY: counts.most_common(1)[0][1] / len(samples)}


def _mean(values: Sequence[Fraction]) -> float:
    return float(sum(values) / len(values))

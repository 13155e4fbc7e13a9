"""What is reached without knowing anything: at random, by the shortest answer, by the commonest one.

Computed from the questions as they were asked, so that a score of a task of one's own has its bar as well.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
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


def of_classes(samples: Sequence[Sample]) -> dict[str, float]:
    """Weighted F1 of the same guessers, from the table of right and guessed answers that is to be expected."""
    golds = Counter(int(sample["gold"]) for sample in samples)
    commonest = golds.most_common(1)[0][0]
    guessers: dict[str, Callable[[Sequence[str]], Sequence[int]]] = {
        RANDOM: lambda choices: range(len(choices)),
        SHORTEST: _shortest_of,
        MAJORITY: lambda _: [commonest],
    }
    return {name: _weighted_f1(samples, golds, guesser) for name, guesser in guessers.items()}


def _weighted_f1(
    samples: Sequence[Sample], golds: Counter[int], guesser: Callable[[Sequence[str]], Sequence[int]]
) -> float:
    """`guesser` names the answers that it takes with equal probability."""
    guessed, right = defaultdict[int, Fraction](Fraction), defaultdict[int, Fraction](Fraction)
    for sample in samples:
        taken = guesser(sample["choices"])
        for number in taken:
            guessed[number] += Fraction(1, len(taken))
            right[number] += Fraction(int(number == sample["gold"]), len(taken))
    scores = {kind: 2 * right[kind] / (there + guessed[kind]) for kind, there in golds.items()}
    return float(sum(golds[kind] * score for kind, score in scores.items()) / len(samples))


def _right(sample: Sample) -> list[int]:
    gold: Any = sample["gold"]
    return gold if isinstance(gold, list) else [gold]


def _shortest(choices: Sequence[str], right: Sequence[int]) -> Fraction:
    candidates = _shortest_of(choices)
    return Fraction(len(set(candidates) & set(right)), len(candidates))


def _shortest_of(choices: Sequence[str]) -> list[int]:
    least = min(len(choice) for choice in choices)
    return [number for number, choice in enumerate(choices) if len(choice) == least]


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
    return {RANDOM: 0.0, MAJORITY: _golds(samples).most_common(1)[0][1] / len(samples)}


def commonest_text(samples: Sequence[Sample]) -> str:
    """What is expected most often."""
    return _golds(samples).most_common(1)[0][0]


def _golds(samples: Sequence[Sample]) -> Counter[str]:
    return Counter(str(sample["gold"]) for sample in samples)


def _mean(values: Sequence[Fraction]) -> float:
    return float(sum(values) / len(values))

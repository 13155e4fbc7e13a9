"""What an evaluation found, as plain data that becomes JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Sample = dict[str, Any]
"""One question as it was asked and answered: prompt, choices, log-likelihoods, gold, right or wrong."""


@dataclass
class TaskResult:
    """Scores of one entry of `evaluation.tasks` by one model."""

    name: str
    scores: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    """Standard errors, of the scores that have one."""
    higher_is_better: dict[str, bool] = field(default_factory=dict)
    guessing: dict[str, dict[str, float]] = field(default_factory=dict)
    """By metric: what a random, a shortest-answer and a majority guesser reach."""
    count: int = 0
    few_shot: int = 0
    cut_requests: int = 0
    cut_tokens: int = 0
    primary: str = ""
    """The score that stands for the task in suites and tables."""
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    """Scores of subtasks, subjects or sources."""
    details: dict[str, Any] = field(default_factory=dict)
    """Versions, template, hashes: what is needed to do it again."""
    samples: list[Sample] = field(default_factory=list)
    skipped: str = ""
    """Why there are no scores, where the manifest allows that."""
    problem: str = ""
    """Why there are no scores, where that is an error."""
    left_out: dict[str, str] = field(default_factory=dict)
    """By metric: why this one is not among the scores."""

    def to_dict(self) -> dict[str, Any]:
        """Without the samples, which have a file of their own."""
        found = asdict(self)
        del found["samples"]
        return found

    @classmethod
    def from_dict(cls, found: dict[str, Any], samples: Sequence[Sample] = ()) -> "TaskResult":
        """Read back."""
        return cls(**found, samples=list(samples))


def combined(name: str, results: Sequence[TaskResult]) -> TaskResult:
    """Several subtasks as one: scores weighted by the number of questions, standard errors accordingly."""
    if len(results) == 1:
        return results[0]
    total = sum(result.count for result in results)
    shares = [result.count / total for result in results]
    whole = TaskResult(name, count=total, few_shot=results[0].few_shot, primary=results[0].primary)
    whole.higher_is_better, whole.details = results[0].higher_is_better, results[0].details
    for metric in results[0].scores:
        if not all(metric in result.scores for result in results):
            continue
        whole.scores[metric] = sum(s * r.scores[metric] for s, r in zip(shares, results, strict=True))
        if all(metric in result.errors for result in results):
            squares = sum((s * r.errors[metric]) ** 2 for s, r in zip(shares, results, strict=True))
            whole.errors[metric] = squares**0.5
    whole.left_out = {metric: why for result in results for metric, why in result.left_out.items()}
    whole.parts = {result.name: dict(result.scores) for result in results}
    whole.samples = [sample | {"part": result.name} for result in results for sample in result.samples]
    return whole

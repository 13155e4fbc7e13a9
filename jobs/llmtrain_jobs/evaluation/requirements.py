"""Whether the scores are what the manifest asks for: the gate behind which a model counts as worth its money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from llmtrain.api.evaluation import Against, Requirement
from llmtrain.api.stageconfig import FailureClass
from llmtrain_jobs.errors import StageError, bad_input

REASON = "EvaluationBelowThreshold"
Scores = Mapping[str, str]


@dataclass(frozen=True)
class Bars:
    """Scores, as decimals in text, by `task/metric`: ours and what they may be held against."""

    own: Scores
    others: Mapping[Against, Scores] = field(default_factory=dict)
    lower_is_better: frozenset[str] = frozenset()
    """Names of scores of which less is better."""


def check(requirements: Sequence[Requirement], bars: Bars) -> None:
    """Raises an error that names every score that is not reached and its bound."""
    missed = [problem for requirement in requirements if (problem := problem_of(requirement, bars))]
    if missed:
        raise StageError(FailureClass.BELOW_THRESHOLD, REASON, "`spec.evaluation.require`: " + "; ".join(missed))


def problem_of(requirement: Requirement, bars: Bars) -> str:
    """What is not reached; empty: nothing."""
    name = requirement.metric
    value = Decimal(_score(bars.own, name, "this evaluation"))
    low, high, why = bounds(requirement, bars)
    if (high is not None and value > high) or (low is not None and value < low):
        bound = f"at most {high}" if high is not None else f"at least {low}"
        return f"{name} is {value}, {bound} is asked for{why}"
    return ""


def bounds(requirement: Requirement, bars: Bars) -> tuple[Decimal | None, Decimal | None, str]:
    """Lower bound, upper bound, and where a relative one comes from."""
    if requirement.no_worse_than is None:
        low = None if requirement.at_least is None else Decimal(requirement.at_least)
        return low, None if requirement.at_most is None else Decimal(requirement.at_most), ""
    whose = f"`{requirement.no_worse_than.value}`"
    other = Decimal(_score(bars.others.get(requirement.no_worse_than, {}), requirement.metric, whose))
    slack = Decimal(requirement.tolerance)
    why = f" (no worse than {whose}, which has {other}, by more than {slack})"
    if requirement.metric in bars.lower_is_better:
        return None, other + slack, why
    return other - slack, None, why


def _score(scores: Scores, name: str, whose: str) -> str:
    if name not in scores:
        there = ", ".join(sorted(scores)) or "none"
        raise bad_input(f"`spec.evaluation.require`: {whose} has no score `{name}`; there are {there}", "UnknownScore")
    return scores[name]

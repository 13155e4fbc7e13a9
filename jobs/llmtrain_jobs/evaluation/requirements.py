"""Whether the scores are what the manifest asks for: the gate behind which a model counts as worth its money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from llmtrain.api.evaluation import Against, Requirement
from llmtrain.api.stageconfig import FailureClass
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.evaluation.finite import REASON as NOT_FINITE

REASON = "EvaluationBelowThreshold"
Scores = Mapping[str, str]


@dataclass(frozen=True)
class Bars:
    """Scores, as decimals in text, by `task/metric`: ours and what they may be held against."""

    own: Scores
    others: Mapping[Against, Scores] = field(default_factory=dict)
    lower_is_better: frozenset[str] = frozenset()
    """Names of scores of which less is better."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why there is no score where there should be one, by task or by `task/metric`; of ours."""
    other_problems: Mapping[Against, Mapping[str, str]] = field(default_factory=dict)


def check(requirements: Sequence[Requirement], bars: Bars) -> None:
    """Raises an error that names every score that is not reached and its bound, or every task that has no score."""
    missed = [problem for requirement in requirements if (problem := problem_of(requirement, bars))]
    if missed:
        raise StageError(FailureClass.BELOW_THRESHOLD, REASON, "`spec.evaluation.require`: " + "; ".join(missed))
    broken = [problem for name, problem in bars.problems.items() if "/" not in name]
    if broken:
        raise bad_input("; ".join(broken), NOT_FINITE)


def problem_of(requirement: Requirement, bars: Bars) -> str:
    """What is not reached; empty: nothing."""
    name = requirement.metric
    missing = _missing(requirement, bars)
    if missing:
        return f"{name} has no score: {missing}"
    value = Decimal(_score(bars.own, name, "this evaluation"))
    low, high, why = bounds(requirement, bars)
    if (high is not None and value > high) or (low is not None and value < low):
        bound = f"at most {high}" if high is not None else f"at least {low}"
        return f"{name} is {value}, {bound} is asked for{why}"
    return ""


def _missing(requirement: Requirement, bars: Bars) -> str:
    """Why one of the scores that are compared is none; empty: both are there, or one was never to be."""
    sides = [(bars.own, bars.problems)]
    if requirement.no_worse_than is not None:
        against = requirement.no_worse_than
        sides.append((bars.others.get(against, {}), bars.other_problems.get(against, {})))
    return next((why for scores, problems in sides if (why := _problem(scores, problems, requirement.metric))), "")


def _problem(scores: Scores, problems: Mapping[str, str], name: str) -> str:
    if name in scores:
        return "" if Decimal(scores[name]).is_finite() else f"it is {scores[name]}"
    return problems.get(name) or problems.get(name.split("/")[0], "")


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

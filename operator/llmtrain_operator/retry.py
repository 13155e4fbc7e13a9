"""What follows a failure: another attempt or the end, by rule, class and limit."""

from dataclasses import dataclass
from datetime import timedelta

from llmtrain.api.failure import FailureClass
from llmtrain.api.retry import Retry, RetryAction, RetryRule
from llmtrain.api.status import Outcome, StageState, StageStatus

FINAL = {FailureClass.BAD_INPUT, FailureClass.STORAGE_FULL, FailureClass.DENIED, FailureClass.BELOW_THRESHOLD}
LIMITED = {FailureClass.OUT_OF_MEMORY, FailureClass.OUT_OF_EPHEMERAL_STORAGE}
"""A limit of the pod itself, which its successor has too."""
UNCOUNTED = {FailureClass.INFRASTRUCTURE, FailureClass.INTERRUPTED}
FIRST_BACKOFF = timedelta(seconds=10)
LONGEST_BACKOFF = timedelta(minutes=5)


@dataclass(frozen=True)
class Failure:
    """How an attempt failed; `exit_code` and `node` where they are known."""

    kind: FailureClass
    reason: str
    message: str
    exit_code: int | None = None
    node: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether another attempt follows, and which limit this failure counts against."""

    again: bool
    counted: bool


def after_failure(failure: Failure, stage: StageStatus, retry: Retry) -> Outcome:
    """The outcome of an attempt that failed."""
    verdict = judge(failure, stage, retry)
    return Outcome(
        state=StageState.PENDING if verdict.again else StageState.FAILED,
        reason=failure.reason or failure.kind.value,
        message=failure.message[:1024],
        retry=verdict.again,
        counted=verdict.counted,
        infrastructure=not verdict.counted,
        failure_class=failure.kind,
        exit_code=failure.exit_code,
        node=failure.node,
    )


def judge(failure: Failure, stage: StageStatus, retry: Retry) -> Verdict:
    """The first rule that matches decides; without one the class does."""
    rule = next((rule for rule in retry.rules if matches(rule, failure)), None)
    action = rule.action if rule else default_action(failure.kind)
    if action is RetryAction.FAIL:
        return Verdict(False, counted=True)
    if action is RetryAction.IGNORE:
        return Verdict(stage.infrastructure_failures < retry.infrastructure_limit, counted=False)
    limit = retry.limit if rule else default_limit(failure.kind, retry)
    return Verdict(stage.failures < limit, counted=True)


def matches(rule: RetryRule, failure: Failure) -> bool:
    """Everything that the rule sets is so."""
    return (
        rule.failure_class in (None, failure.kind)
        and rule.exit_code in (None, failure.exit_code)
        and rule.reason in (None, failure.reason or failure.kind.value)
    )


def default_action(kind: FailureClass) -> RetryAction:
    """What follows a class that no rule speaks of."""
    if kind in FINAL:
        return RetryAction.FAIL
    return RetryAction.IGNORE if kind in UNCOUNTED else RetryAction.RETRY


def default_limit(kind: FailureClass, retry: Retry) -> int:
    """More memory or disk does not come by itself: one more attempt, in case it was a neighbour's."""
    return min(1, retry.limit) if kind in LIMITED else retry.limit


def backoff(fruitless: int) -> timedelta:
    """Pause after the n-th attempt in a row without progress: 10 s, doubling to 5 min; none after zero."""
    if fruitless <= 0:
        return timedelta(0)
    doublings: int = 2 ** min(fruitless - 1, 10)
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * doublings)

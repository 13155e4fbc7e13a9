"""What follows a failure: another attempt or the end, by class."""

from datetime import timedelta

from llmtrain.api.job import Retry
from llmtrain.api.stageconfig import FailureClass
from llmtrain.api.status import Outcome, StageState, StageStatus

FINAL = {FailureClass.BAD_INPUT, FailureClass.STORAGE_FULL, FailureClass.DENIED, FailureClass.BELOW_THRESHOLD}
UNCOUNTED = {FailureClass.INFRASTRUCTURE, FailureClass.INTERRUPTED}
FIRST_BACKOFF = timedelta(seconds=10)
LONGEST_BACKOFF = timedelta(minutes=5)


def after_failure(failure: FailureClass, reason: str, message: str, stage: StageStatus, retry: Retry) -> Outcome:
    """The outcome of an attempt that failed."""
    again = may_retry(failure, stage, retry)
    return Outcome(
        state=StageState.PENDING if again else StageState.FAILED,
        reason=reason or failure.value,
        message=message[:1024],
        retry=again,
        counted=failure not in UNCOUNTED,
        infrastructure=failure in UNCOUNTED,
    )


def may_retry(failure: FailureClass, stage: StageStatus, retry: Retry) -> bool:
    """Whether the class and the limits allow another attempt."""
    if failure in FINAL:
        return False
    if failure in UNCOUNTED:
        return stage.infrastructure_failures < retry.infrastructure_limit
    if failure is FailureClass.OUT_OF_MEMORY:
        return stage.failures < min(1, retry.limit)
    return stage.failures < retry.limit


def backoff(failures: int) -> timedelta:
    """Pause before the attempt that follows the n-th failure: 10 s, doubling to 5 min; none before the first."""
    if failures <= 0:
        return timedelta(0)
    doublings: int = 2 ** min(failures - 1, 10)
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * doublings)

"""What follows a failure, class by class of the table, and what rules change."""

from datetime import timedelta
from typing import Any

import pytest
from llmtrain_operator.retry import Failure, after_failure, backoff
from pydantic import ValidationError

from llmtrain.api.failure import FailureClass
from llmtrain.api.retry import Retry
from llmtrain.api.status import Stage, StageStatus

C = FailureClass
# class: (another attempt follows the first failure, counted against retry.limit)
TABLE = {
    C.BAD_INPUT: (False, True),
    C.UNAVAILABLE: (True, True),
    C.INTERNAL: (True, True),
    C.STORAGE_FULL: (False, True),
    C.INTERRUPTED: (True, False),
    C.DENIED: (False, True),
    C.BELOW_THRESHOLD: (False, True),
    C.OUT_OF_MEMORY: (True, True),
    C.OUT_OF_EPHEMERAL_STORAGE: (True, True),
    C.INFRASTRUCTURE: (True, False),
    C.NOT_STARTED: (True, True),
}


def decided(kind: FailureClass, failures: int = 0, infrastructure: int = 0, code: int | None = None, reason: str = "",
            **retry: Any) -> tuple[bool, bool]:  # fmt: skip
    stage = StageStatus(name=Stage.TRAINING, failures=failures, infrastructure_failures=infrastructure)
    outcome = after_failure(Failure(kind, reason, "", code), stage, Retry.model_validate(retry))
    assert outcome.counted != outcome.infrastructure
    assert (outcome.state == "Pending") == outcome.retry
    return outcome.retry, outcome.counted


@pytest.mark.parametrize("kind", list(FailureClass))
def test_the_default_action_of_every_class(kind: FailureClass) -> None:
    assert decided(kind) == TABLE[kind]


@pytest.mark.parametrize(("failures", "again"), [(0, True), (2, True), (3, False), (4, False)])
def test_counted_failures_end_at_the_limit(failures: int, again: bool) -> None:
    assert decided(C.INTERNAL, failures, limit=3)[0] is again


@pytest.mark.parametrize(("losses", "again"), [(49, True), (50, False)])
def test_infrastructure_losses_end_at_their_own_limit(losses: int, again: bool) -> None:
    assert decided(C.INFRASTRUCTURE, 100, losses, infrastructureLimit=50)[0] is again


@pytest.mark.parametrize("kind", [C.OUT_OF_MEMORY, C.OUT_OF_EPHEMERAL_STORAGE])
def test_a_limit_of_the_pod_itself_gets_one_more_attempt_whatever_the_limit(kind: FailureClass) -> None:
    assert decided(kind, 0, limit=5)[0]
    assert not decided(kind, 1, limit=5)[0]
    assert not decided(kind, 0, limit=0)[0]


def test_the_first_rule_that_matches_decides() -> None:
    rules = [
        {"class": "Internal", "exitCode": 71, "action": "Fail"},
        {"class": "Internal", "action": "Ignore"},
        {"reason": "Stalled", "action": "Fail"},
        {"class": "BadInput", "action": "Retry"},
    ]
    assert decided(C.INTERNAL, code=71, rules=rules) == (False, True)
    assert decided(C.INTERNAL, code=70, rules=rules) == (True, False)
    assert decided(C.INTERNAL, reason="Stalled", rules=rules) == (True, False)
    assert decided(C.UNAVAILABLE, reason="Stalled", rules=rules) == (False, True)
    assert decided(C.BAD_INPUT, rules=rules) == (True, True)
    assert decided(C.BAD_INPUT, 3, rules=rules) == (False, True)


def test_ignored_failures_are_bounded_too() -> None:
    rules = [{"exitCode": 9, "action": "Ignore"}]
    assert decided(C.INTERNAL, 99, 49, 9, rules=rules, limit=0) == (True, False)
    assert decided(C.INTERNAL, 99, 50, 9, rules=rules, limit=0) == (False, False)


@pytest.mark.parametrize(
    "rule", [{"class": "Bad", "action": "Fail"}, {"class": "Internal"}, {"exitCode": 0, "action": "Fail"}]
)
def test_a_rule_that_says_nothing_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Retry.model_validate({"rules": [rule]})


def test_backoff_doubles_from_ten_seconds_to_five_minutes() -> None:
    seconds = [backoff(n) // timedelta(seconds=1) for n in range(9)]
    assert seconds == [0, 10, 20, 40, 80, 160, 300, 300, 300]

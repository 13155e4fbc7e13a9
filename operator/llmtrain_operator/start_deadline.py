"""A cluster that does not come to work: which wait is free, which one is given up, and which one is a failure.

Nothing placed: it waits without end, and nothing counts. Some placed, the rest without a place: given back after the
start deadline, no failure, see idle_release.py. Placed and not started, for its image, its config, its volumes: NotStarted,
counted, with the reason of the kubelet.
"""

from datetime import datetime, timedelta

from llmtrain.api.failure import FailureClass
from llmtrain.api.retry import RetryAction
from llmtrain.api.status import Outcome, StageState, StageStatus
from llmtrain_operator.billing import parse_time
from llmtrain_operator.blueprints import is_elastic
from llmtrain_operator.elastic import due_successor, is_enough
from llmtrain_operator.history import excluded_nodes
from llmtrain_operator.placement import held_micro_usd, held_pods, placed_at, unplaced_pods
from llmtrain_operator.podstate import PodState
from llmtrain_operator.retry import Failure, after_failure, matches
from llmtrain_operator.starting import plan_refusal, unread
from llmtrain_operator.turn import Turn
from llmtrain_operator.waiting import GATED, Cause, find_cause, held_words

UNSTARTED = "StartDeadlineExceeded"
"""Placed pods say nothing of why they do not start: their volumes are not mounted, or their image is not there yet."""


def late_start(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Release a cluster that cannot start, or cannot get a worker back, with the true reason."""
    starting = [pod for pod in turn.crew_of(stage) if pod.node and not (pod.started or pod.finished or pod.deleted)]
    told = [(pod, wait) for pod in starting if (wait := pod.waiting) is not None]
    fatal = next((Failure(FailureClass.BAD_INPUT, *_words(*one)) for one in told if one[0].hopeless), None)
    if fatal:
        return after_failure(fatal, stage, turn.spec.retry)
    idle = _is_past(turn, parse_time(stage.phases.held_since))
    # A successor that nobody can make, plans being unread, is not waited for longer than any other pod.
    if is_enough(turn, stage) or (due_successor(turn, stage) and not idle):
        return None
    # Told first where both are so: what is wrong with the image is not cured by a place.
    if told and (idle or _are_late(turn, stage, starting)):
        return after_failure(Failure(FailureClass.NOT_STARTED, *_words(*told[0])), stage, turn.spec.retry)
    if _are_late(turn, stage, starting):
        return after_failure(
            Failure(FailureClass.NOT_STARTED, UNSTARTED, _silent(turn, starting)), stage, turn.spec.retry
        )
    if idle:
        return given_back(turn, stage)
    return None if held_pods(turn, stage) else _endless(turn, stage)


def _words(pod: PodState, wait: tuple[str, str]) -> tuple[str, str]:
    reason, text = wait
    return reason, f"pod {pod.name}: {text or reason}"


def _silent(turn: Turn, starting: list[PodState]) -> str:
    first = starting[0]
    seconds = turn.spec.start_deadline_seconds
    return (
        f"pod {first.name} is on node {first.node} and was not started within {seconds} s: its image is not pulled yet, "
        f"or a volume or its network is not there; see kubectl describe pod"
    )


def _is_past(turn: Turn, since: datetime | None) -> bool:
    return since is not None and turn.now - since > timedelta(seconds=turn.spec.start_deadline_seconds)


def _are_late(turn: Turn, stage: StageStatus, starting: list[PodState]) -> bool:
    """A placed pod has not started in time. Of an elastic stage the last that was placed: it may be enough with that."""
    last = max if is_elastic(turn.spec, stage.name) else min
    times = [time for time in (placed_at(pod) for pod in starting) if time is not None]
    return _is_past(turn, last(times, default=None))


def given_back(turn: Turn, stage: StageStatus) -> Outcome:
    """Placed pods have waited for the rest for as long as they may."""
    cause = find_cause(turn, stage) or _not_made(turn, stage)
    if failed := _failed_by_rule(turn, stage, cause):
        return failed
    held, since = held_pods(turn, stage), stage.phases.held_since or turn.stamp
    money = held_micro_usd(turn, held, since)
    return Outcome(
        state=StageState.PENDING,
        reason=cause.reason,
        message=f"{cause.message}{held_words(turn, stage, held, since, money)}"[:1024],
        retry=True,
        idle=True,
        idle_micro_usd=money,
    )


def _not_made(turn: Turn, stage: StageStatus) -> Cause:
    """Why nobody asks for pods that are missing."""
    return Cause(*(unread(turn) or plan_refusal(turn, stage) or ("Incomplete", "head or workers are missing")))


def _failed_by_rule(turn: Turn, stage: StageStatus, cause: Cause) -> Outcome | None:
    """Whoever names the very reason in `retry.rules` and says Fail does not want to wait on."""
    failure = Failure(FailureClass.NOT_STARTED, cause.reason, cause.message)
    rule = next((rule for rule in turn.spec.retry.rules if matches(rule, failure)), None)
    named = rule is not None and rule.reason is not None and rule.action is RetryAction.FAIL
    return after_failure(failure, stage, turn.spec.retry) if named else None


def _endless(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Nothing is placed and nothing is paid for: it waits on, unless a rule says otherwise, or nodes are left out in vain."""
    cause = find_cause(turn, stage)
    if cause is None or cause.reason == GATED or not _is_past(turn, _waits_since(turn, stage, cause)):
        return None
    if failed := _failed_by_rule(turn, stage, cause):
        return failed
    nodes = excluded_nodes(stage)
    if not nodes or not unplaced_pods(turn, stage):
        return None
    message = f"no other node has room, so {', '.join(nodes)} may be used again: {cause.message}"
    return Outcome(state=StageState.PENDING, reason=cause.reason, message=message[:1024], retry=True, idle=True)


def _waits_since(turn: Turn, stage: StageStatus, cause: Cause) -> datetime | None:
    """Since when it waits for this. Time at a gate is no wait for a node."""
    before = turn.seen.job.status.waiting
    if before is not None:
        return parse_time(before.since) if before.reason == cause.reason else turn.now
    asked = [pod.created for pod in unplaced_pods(turn, stage) if pod.created]
    return min(asked, default=parse_time(stage.attempt_time))

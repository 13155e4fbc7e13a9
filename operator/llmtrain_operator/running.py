"""A stage whose cluster works: does its head live, do its workers, has anybody asked it to stop?"""

from datetime import timedelta

from llmtrain.api.stageconfig import FailureClass, Result
from llmtrain.api.status import Outcome, StageState, StageStatus
from llmtrain_operator.billing import parse_time
from llmtrain_operator.budget import view
from llmtrain_operator.metering import burn_micro_per_hour
from llmtrain_operator.names import HEAD
from llmtrain_operator.podstate import FATAL_WAITS, PodState
from llmtrain_operator.retry import after_failure
from llmtrain_operator.starting import create_missing
from llmtrain_operator.stopping import begin_stop
from llmtrain_operator.turn import Turn

ROTATION_MARGIN = timedelta(minutes=5)


def run(turn: Turn, stage: StageStatus) -> None:
    """One look at a working cluster."""
    stage.progress = turn.seen.progress or stage.progress
    outcome = requested_stop(turn) or head_outcome(turn, stage) or late_start(turn, stage) or rotation(turn, stage)
    outcome = outcome or replace_workers(turn, stage)
    if outcome:
        begin_stop(turn, stage, outcome)
    else:
        create_missing(turn, stage)


def requested_stop(turn: Turn) -> Outcome | None:
    """Suspension and budget: not failures."""
    if turn.spec.suspend:
        return Outcome(state=StageState.SUSPENDED, reason="Suspended", message="`spec.suspend` is true")
    budget = view(turn.spec.budget, turn.status.ledger, burn_micro_per_hour(turn.seen.pods))
    if not budget.stop:
        return None
    state = StageState.FAILED if budget.fail else StageState.SUSPENDED
    return Outcome(state=state, reason="BudgetExceeded", message=budget.message)


def head_outcome(turn: Turn, stage: StageStatus) -> Outcome | None:
    """How the attempt ended, if its head has."""
    head = turn.head_of(stage)
    if head is None:
        return _vanished_head(turn, stage)
    if head.over:
        return ended_head(turn, stage, head)
    if head.deleted:
        return after_failure(
            FailureClass.INFRASTRUCTURE, "HeadDeleted", f"head pod {head.name} was deleted", stage, turn.spec.retry
        )
    return None


def ended_head(turn: Turn, stage: StageStatus, head: PodState) -> Outcome:
    """Read the head's last words; without any, its exit code speaks."""
    result = head.result()
    if result and result.outcome == "Succeeded" and head.phase == "Succeeded":
        return Outcome(state=StageState.SUCCEEDED, reason="Completed", message=result.message)
    failure = result.failure_class if result and result.failure_class else head.failure_class()
    return after_failure(failure, result.reason if result else "", _last_words(head, result), stage, turn.spec.retry)


def _last_words(head: PodState, result: Result | None) -> str:
    if result and result.message:
        return result.message
    ended = head.terminated
    text = str(head.raw.get("status", {}).get("message", "")) or str(ended.get("message") or "")[-300:]
    return (
        f"head pod {head.name} ended with exit code {ended.get('exitCode')} ({ended.get('reason', 'no reason')}) {text}"
    )


def _vanished_head(turn: Turn, stage: StageStatus) -> Outcome | None:
    """A head that was billed and is gone had its finalizer stripped; one that was never billed is yet to be made."""
    billed = [m for m in turn.seen.job.status.ledger.high_water if m.stage is stage.name and m.role == HEAD]
    if not billed:
        return None
    return after_failure(FailureClass.INFRASTRUCTURE, "HeadVanished", "the head pod vanished", stage, turn.spec.retry)


def late_start(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Release a cluster that cannot start, with the true reason."""
    waiting = [(pod, pod.waiting) for pod in turn.pods_of(stage) if not pod.started and not pod.deleted]
    reasons = [(f"{wait[0]}", f"pod {pod.name}: {wait[1] or wait[0]}") for pod, wait in waiting if wait]
    if turn.seen.refusal:
        reasons.append(("CreateRefused", turn.seen.refusal))
    fatal = next((reason for reason in reasons if reason[0] in FATAL_WAITS), None)
    since = parse_time(stage.attempt_time) or turn.now
    late = turn.now - since > timedelta(seconds=turn.spec.start_deadline_seconds)
    if fatal:
        return after_failure(FailureClass.BAD_INPUT, fatal[0], fatal[1], stage, turn.spec.retry)
    if not (late and (waiting or reasons)) or _head_works(turn, stage):
        return None
    reason, message = reasons[0] if reasons else ("StartDeadlineExceeded", "pods were not started in time")
    return after_failure(FailureClass.NOT_STARTED, reason, message, stage, turn.spec.retry)


def _head_works(turn: Turn, stage: StageStatus) -> bool:
    """The stage has made progress, so a worker that waits is one that is being replaced."""
    return turn.head_of(stage) is not None and bool(stage.progress and stage.progress.done)


def rotation(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Leave before the pods' own deadline kills them."""
    since = parse_time(stage.attempt_time) or turn.now
    lifetime = timedelta(seconds=turn.spec.max_pod_lifetime_seconds)
    if turn.now - since < lifetime - min(ROTATION_MARGIN, lifetime / 4):
        return None
    return Outcome(state=StageState.PENDING, reason="Rotated", message="pods reached their lifetime", retry=True)


def replace_workers(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Dead workers are replaced in place, under the next incarnation, while the head lives."""
    slots = {slot.index: slot for slot in stage.workers}
    for pod in turn.pods_of(stage):
        if pod.is_head or not (pod.over or turn.ended(pod)):
            continue
        turn.delete(pod)
        slot = slots.get(pod.index)
        if slot is None or pod.incarnation < slot.incarnation:
            continue
        failure = pod.failure_class() if pod.over else FailureClass.INFRASTRUCTURE
        if failure is FailureClass.OUT_OF_MEMORY:
            message = f"worker {pod.name} ran out of memory (limit {memory_limit(pod)})"
            return after_failure(failure, "OutOfMemory", message, stage, turn.spec.retry)
        slot.incarnation += 1
        turn.tell("WorkerReplaced", f"worker {pod.name} ended; incarnation {slot.incarnation} follows", warning=True)
    deaths = sum(slot.incarnation - 1 for slot in stage.workers)
    if deaths <= turn.spec.retry.infrastructure_limit:
        return None
    message = f"{deaths} workers ended, more than `spec.retry.infrastructureLimit` allows"
    return after_failure(FailureClass.INFRASTRUCTURE, "WorkersLost", message, stage, turn.spec.retry)


def memory_limit(pod: PodState) -> str:
    """Memory limit of a pod's container, for messages."""
    return str(pod.raw["spec"]["containers"][0].get("resources", {}).get("limits", {}).get("memory", "none"))

"""Dead workers: replaced in place while the head lives, until there were too many."""

from llmtrain.api.failure import FailureClass
from llmtrain.api.retry import RetryAction
from llmtrain.api.status import Outcome, StageStatus, WorkerState
from llmtrain_operator.attribution import hand_over
from llmtrain_operator.history import count_node_loss
from llmtrain_operator.nodes import lost_node, silent
from llmtrain_operator.podstate import PodState
from llmtrain_operator.retry import LIMITED, UNCOUNTED, Failure, after_failure, backoff, judge, matches
from llmtrain_operator.turn import Turn


def replace_workers(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Replace every dead worker under its next incarnation; an outcome where the attempt must end instead."""
    slots = {slot.index: slot for slot in stage.workers}
    for pod in _superseded(turn, stage):
        turn.delete(pod)
    for pod in _dead_workers(turn, stage):
        slot = slots.get(pod.index)
        if slot is None or pod.incarnation < slot.incarnation:
            turn.delete(pod)
            continue
        if not is_due(turn, slot, pod):
            continue
        turn.delete(pod)
        if not is_explained(turn, pod):
            continue
        failure = worker_failure(turn, pod)
        outcome = fatal(turn, stage, failure)
        if outcome:
            return outcome
        _replace(turn, stage, slot, failure, pod.rejected)
    return too_many(turn, stage)


def _dead_workers(turn: Turn, stage: StageStatus) -> list[PodState]:
    workers = [pod for pod in turn.crew_of(stage) if not pod.is_head]
    return [p for p in workers if p.over or turn.ended(p) or silent(p, turn.seen.nodes, turn.now)]


def _superseded(turn: Turn, stage: StageStatus) -> list[PodState]:
    """Workers whose slot has another pod by now, or is there no more: whoever was to delete them may have been refused."""
    current = {(slot.index, slot.incarnation) for slot in stage.workers}
    return [pod for pod in turn.crew_of(stage) if not pod.is_head and (pod.index, pod.incarnation) not in current]


def is_explained(turn: Turn, pod: PodState) -> bool:
    """It is known why the pod ended; otherwise its kubelet says so once the last of its containers has ended."""
    return pod.explained or turn.ended(pod) or silent(pod, turn.seen.nodes, turn.now)


def is_due(turn: Turn, slot: WorkerState, pod: PodState) -> bool:
    """A pod that its kubelet rejected has its successor after a pause, for which its object stands; it costs nothing."""
    return not pod.rejected or pod.created is None or turn.now >= pod.created + backoff(slot.rejections + 1)


def worker_failure(turn: Turn, pod: PodState) -> Failure:
    """Why a worker ended."""
    node = lost_node(pod, turn.seen.nodes, turn.now)
    if not pod.over:
        reason = "NodeLost" if node else "WorkerDeleted"
        return Failure(FailureClass.INFRASTRUCTURE, reason, f"worker {pod.name} is gone", node=node)
    kind = pod.failure_class()
    reason = "NodeLost" if node and not pod.rejected else pod.end_reason or pod.disruption or kind.value
    return Failure(kind, reason, f"worker {pod.name} {pod.end_message()}", pod.exit_code, node)


def fatal(turn: Turn, stage: StageStatus, failure: Failure) -> Outcome | None:
    """A failure that no new worker would cure ends the attempt."""
    final = not judge(failure, stage, turn.spec.retry).again
    return after_failure(failure, stage, turn.spec.retry) if final or _ends_attempt(turn, failure) else None


def _ends_attempt(turn: Turn, failure: Failure) -> bool:
    """More memory or disk needs other pods, and a rule that says Retry asks for another attempt."""
    rules = [rule for rule in turn.spec.retry.rules if rule.action is not RetryAction.IGNORE]
    return failure.kind in LIMITED or any(matches(rule, failure) for rule in rules)


def _replace(turn: Turn, stage: StageStatus, slot: WorkerState, failure: Failure, rejected: bool) -> None:
    hand_over(slot, stage.phases, failure.reason)
    slot.rejections = slot.rejections + 1 if rejected else 0
    count_node_loss(stage, failure.node)
    stage.worker_failures += int(failure.kind not in UNCOUNTED)
    turn.tell("WorkerReplaced", f"{failure.message}; incarnation {slot.incarnation} follows", warning=True)


def too_many(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Workers may not be replaced for ever: each of them is billed."""
    retry, deaths = turn.spec.retry, sum(slot.incarnation - 1 - slot.released for slot in stage.workers)
    if stage.worker_failures > retry.limit:
        message = f"{stage.worker_failures} workers failed, more than `spec.retry.limit` of {retry.limit} allows"
        return after_failure(Failure(FailureClass.INTERNAL, "WorkersFailed", message), stage, retry)
    if deaths <= retry.infrastructure_limit:
        return None
    message = f"{deaths} workers ended, more than `spec.retry.infrastructureLimit` of {retry.infrastructure_limit}"
    return after_failure(Failure(FailureClass.INFRASTRUCTURE, "WorkersLost", f"{message} allows"), stage, retry)

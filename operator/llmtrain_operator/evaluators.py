"""Evaluator pods beside a training: replaced in place when they end, given up when that does not help.

Whatever becomes of them, training goes on: no failure of theirs counts for the attempt, and no wait of theirs is its wait.
"""

from datetime import timedelta

from llmtrain.api.failure import FailureClass
from llmtrain.api.status import StageStatus, WorkerState
from llmtrain_operator.bounds import lifetimes
from llmtrain_operator.budget import SHORTEST_RUN_SECONDS
from llmtrain_operator.history import count_node_loss
from llmtrain_operator.names import EVALUATOR
from llmtrain_operator.nodes import silent
from llmtrain_operator.placement import placed_at
from llmtrain_operator.podstate import PodState
from llmtrain_operator.retry import UNCOUNTED
from llmtrain_operator.supersede import unmakeable
from llmtrain_operator.turn import Turn
from llmtrain_operator.workers import is_due, is_explained, worker_failure

HOPELESS = frozenset({FailureClass.BAD_INPUT, FailureClass.DENIED, FailureClass.STORAGE_FULL})
"""Another pod would end the same way."""


def tend_evaluators(turn: Turn, stage: StageStatus) -> None:
    """Replace evaluators that ended; give up those that fail for good or too often. One without a node waits for free."""
    slots = {slot.index: slot for slot in stage.evaluators}
    for pod in turn.evaluators_of(stage):
        slot = slots.get(pod.index)
        if slot is None or pod.incarnation < slot.incarnation:
            turn.delete(pod)
        elif pod.over or turn.ended(pod) or silent(pod, turn.seen.nodes, turn.now):
            if is_due(turn, slot, pod):
                turn.delete(pod)
                _succeed(turn, stage, slot, pod)
        elif why := _cannot_start(turn, pod):
            turn.delete(pod)
            _give_up(turn, stage, slot, why)
    _unmakeable(turn, stage)
    _unpaid(turn, stage)


def _succeed(turn: Turn, stage: StageStatus, slot: WorkerState, pod: PodState) -> None:
    if not is_explained(turn, pod):
        return
    failure = worker_failure(turn, pod)
    limit = turn.spec.retry.infrastructure_limit if failure.kind in UNCOUNTED else turn.spec.retry.limit
    message = failure.message.replace("worker", "evaluator", 1)
    if failure.kind in HOPELESS or slot.incarnation > limit:
        last = pod.result()
        _give_up(turn, stage, slot, f"{message}: {last.message}" if last and last.message else message)
        return
    slot.incarnation, slot.replaced_for = slot.incarnation + 1, failure.reason
    slot.rejections = slot.rejections + 1 if pod.rejected else 0
    count_node_loss(stage, pod.node if pod.rejected else "")
    turn.tell("EvaluatorReplaced", f"{message}; incarnation {slot.incarnation} follows", warning=True)


def _cannot_start(turn: Turn, pod: PodState) -> str:
    """Why a pod that has not started will not, or has taken too long on its node; empty: it may yet."""
    if pod.started:
        return ""
    reason, text = pod.waiting or ("", "")
    if pod.hopeless:
        return f"evaluator {pod.name}: {reason} {text}"
    since = placed_at(pod)
    late = since is not None and turn.now - since > timedelta(seconds=turn.spec.start_deadline_seconds)
    return f"evaluator {pod.name} was not started in time: {reason} {text}" if late else ""


def _unmakeable(turn: Turn, stage: StageStatus) -> None:
    """What an evaluator of this attempt was made from is lost, or its plan is no longer for this namespace."""
    lacking = _lacking(turn, stage) if not turn.lacks_crew(stage) else []
    why = unmakeable(turn, stage, bool(lacking), EVALUATOR)
    for slot in lacking if why else []:
        _give_up(turn, stage, slot, why[1] if why else "")


def _unpaid(turn: Turn, stage: StageStatus) -> None:
    """What is left of the budget pays for no successor that lives long enough to score anything."""
    found = lifetimes(turn, stage) if _lacking(turn, stage) and not turn.lacks_crew(stage) else None
    if found is None or found.worker >= min(SHORTEST_RUN_SECONDS, turn.spec.max_pod_lifetime_seconds):
        return
    for slot in _lacking(turn, stage):
        _give_up(turn, stage, slot, "the budget does not pay for another")


def _lacking(turn: Turn, stage: StageStatus) -> list[WorkerState]:
    there = {(pod.index, pod.incarnation) for pod in turn.evaluators_of(stage)}
    return [slot for slot in stage.evaluators if (slot.index, slot.incarnation) not in there]


def _give_up(turn: Turn, stage: StageStatus, slot: WorkerState, why: str) -> None:
    stage.evaluators = [other for other in stage.evaluators if other.index != slot.index]
    turn.tell("EvaluatorGivenUp", f"training goes on without evaluator {slot.index}: {why}", warning=True)

"""A stage whose cluster works: does its head live, do its workers, has anybody asked it to stop?"""

from llmtrain.api.failure import FailureClass
from llmtrain.api.stageconfig import WORKERS_MISSING, Result
from llmtrain.api.status import Outcome, StageState, StageStatus
from llmtrain_operator.bounds import outlived, outpriced, shorten
from llmtrain_operator.budget import breach
from llmtrain_operator.deadline import rotation, run_deadline, stall, take_progress
from llmtrain_operator.dismissal import dismiss
from llmtrain_operator.elastic import is_enough, resize
from llmtrain_operator.evaluators import tend_evaluators
from llmtrain_operator.names import HEAD
from llmtrain_operator.nodes import lost_node, silent
from llmtrain_operator.podstate import PodState
from llmtrain_operator.reservation import keep_reserved
from llmtrain_operator.retry import Failure, after_failure
from llmtrain_operator.start_deadline import given_back, late_start
from llmtrain_operator.starting import create_missing
from llmtrain_operator.stopping import begin_stop
from llmtrain_operator.supersede import note_change, superseded
from llmtrain_operator.turn import Turn
from llmtrain_operator.workers import is_explained, replace_workers


def run(turn: Turn, stage: StageStatus) -> None:
    """One look at a working cluster; the first check that has something to say decides."""
    take_progress(turn, stage)
    note_change(turn, stage)
    keep_reserved(turn, stage)
    outcome = requested_stop(turn, stage) or outlived(turn, stage) or head_outcome(turn, stage)
    if outcome is None and _ends(turn, stage):
        return
    outcome = outcome or run_deadline(turn, stage) or late_start(turn, stage) or rotation(turn, stage)
    outcome = outcome or stall(turn, stage) or replace_workers(turn, stage)
    if outcome is None:
        resize(turn, stage)
        dismiss(turn, stage)
    outcome = outcome or superseded(turn, stage, is_enough(turn, stage))
    # A worker's successor is paid for anew, so the budget is asked again.
    outcome = outcome or breach(turn, stage)
    if outcome is None and shorten(turn, stage):
        return
    outcome = outcome or outpriced(turn, stage)
    if outcome:
        begin_stop(turn, stage, outcome)
    else:
        tend_evaluators(turn, stage)
        create_missing(turn, stage)


def requested_stop(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Suspension and budget: not failures."""
    if turn.spec.suspend:
        return Outcome(state=StageState.SUSPENDED, reason="Suspended", message="`spec.suspend` is true")
    return breach(turn, stage)


def head_outcome(turn: Turn, stage: StageStatus) -> Outcome | None:
    """How the attempt ended, if its head has."""
    head = turn.head_of(stage)
    if head is None:
        return _vanished_head(turn, stage)
    if head.over:
        return ended_head(turn, stage, head) if is_explained(turn, head) else None
    node = lost_node(head, turn.seen.nodes, turn.now)
    if silent(head, turn.seen.nodes, turn.now):
        message = f"node {node} of head pod {head.name} does not answer"
        return _infrastructure(turn, stage, "NodeLost", message, node)
    if head.deleted:
        reason = "NodeLost" if node else head.disruption or "HeadDeleted"
        return _infrastructure(turn, stage, reason, f"head pod {head.name} was deleted", node)
    return None


def _ends(turn: Turn, stage: StageStatus) -> bool:
    """The head's stage was ended from outside, and another of its containers runs on: why is known once that has ended too."""
    head = turn.head_of(stage)
    if head is None or not head.over:
        return False
    turn.delete(head)
    return True


def _infrastructure(turn: Turn, stage: StageStatus, reason: str, message: str, node: str = "") -> Outcome:
    failure = Failure(FailureClass.INFRASTRUCTURE, reason, message, node=node)
    return after_failure(failure, stage, turn.spec.retry)


def ended_head(turn: Turn, stage: StageStatus, head: PodState) -> Outcome:
    """Read the head's last words; without any, its exit code speaks."""
    result = head.result()
    if result and result.outcome == "Succeeded" and head.succeeded:
        return Outcome(state=StageState.SUCCEEDED, reason="Completed", message=result.message)
    if result and result.reason == WORKERS_MISSING and stage.phases.held_since:
        # It gave up before the operator did, which was away: what its workers lacked is a place all the same.
        return given_back(turn, stage)
    told = result if result and result.failure_class and not head.own_storage_limit else None
    kind = told.failure_class if told and told.failure_class else head.failure_class()
    node = lost_node(head, turn.seen.nodes, turn.now)
    reason = told.reason if told else "NodeLost" if node and not head.rejected else head.end_reason
    failure = Failure(kind, reason, _last_words(head, result), head.exit_code, node)
    return after_failure(failure, stage, turn.spec.retry)


def _last_words(head: PodState, result: Result | None) -> str:
    if result and result.message and not head.own_storage_limit:
        return result.message
    advice = "; raise `head.memory`" if head.terminated.get("reason") == "OOMKilled" else ""
    return f"head pod {head.name} {head.end_message()}{advice}"


def _vanished_head(turn: Turn, stage: StageStatus) -> Outcome | None:
    """A head that was billed and is gone had its finalizer stripped; one that was never billed is yet to be made."""
    billed = [m for m in turn.seen.job.status.ledger.high_water if m.stage is stage.name and m.role == HEAD]
    return _infrastructure(turn, stage, "HeadVanished", "the head pod vanished") if billed else None

"""The two-phase stop: the head first, so that it can save; then the workers; done when all are observed gone."""

from datetime import timedelta

from llmtrain.api.failure import FailureClass
from llmtrain.api.stageconfig import Result
from llmtrain.api.status import Outcome, Stage, StageState, StageStatus
from llmtrain_operator.billing import format_time
from llmtrain_operator.blueprints import attempt_of, stages_of
from llmtrain_operator.bounds import EXTENDED
from llmtrain_operator.history import advanced, count_node_loss, held_seconds, last_reason, record_attempt
from llmtrain_operator.idle_release import lot_of, pause
from llmtrain_operator.measuring import note_attempt_over, note_done
from llmtrain_operator.nodes import overdue, silent
from llmtrain_operator.observation import DeleteObjects
from llmtrain_operator.podstate import PodState
from llmtrain_operator.retry import Failure, after_failure, backoff
from llmtrain_operator.turn import Turn

ROTATED = "Rotated"
PROMPTLY = 5
"""Grace of a worker whose head is gone: it has nothing to save."""
HUNG_AFTER = timedelta(seconds=60)
"""Beyond its grace: a head that still runs then hangs, say in a write to storage that does not answer, and saves no more."""


def begin_stop(turn: Turn, stage: StageStatus, outcome: Outcome) -> None:
    """Enter the stop. The state and the reason are in the status before the first pod is deleted."""
    stage.state, stage.outcome = StageState.STOPPING, outcome
    stage.phases = stage.phases.model_copy(update={"stop_time": turn.stamp})
    turn.tell("StageStopping", f"{stage.name.value}: {outcome.reason} {outcome.message}", warning=outcome.counted)
    stop(turn, stage)


def stop(turn: Turn, stage: StageStatus) -> None:
    """Take the cluster down, one phase after the other."""
    head = turn.head_of(stage)
    # Once its stage has ended there is nothing left to save, though a container beside it may still run.
    if head is not None and not (head.over or turn.ended(head)):
        turn.delete(head, stage.outcome.grace_seconds if stage.outcome else None)
        if not _cannot_save(turn, head):
            return
    if head is not None:
        read_result(turn, stage, head)
    for pod in turn.pods_of(stage):
        turn.delete(pod, None if pod.is_head else PROMPTLY)
    if turn.seen.pods or turn.seen.objects_left:
        # Beside the pods' end, so that the next stage does not wait for it; and until it is seen to be done.
        turn.actions.append(DeleteObjects(attempt_of(turn.seen.job, stage)))
    else:
        finish(turn, stage)


def _cannot_save(turn: Turn, head: PodState) -> bool:
    """Its node does not answer, or its kubelet could not end it in its grace: its workers are paid for in vain."""
    return silent(head, turn.seen.nodes, turn.now) or overdue(head, turn.now, HUNG_AFTER)


def read_result(turn: Turn, stage: StageStatus, head: PodState) -> None:
    """Keep what the head left before its object goes. Work that finished while it was asked to stop is finished."""
    result = head.result()
    if result is None or stage.outcome is None:
        return
    if result.outcome == "Succeeded" and head.succeeded and stage.outcome.state is not StageState.FAILED:
        stage.outcome = Outcome(state=StageState.SUCCEEDED, reason="Completed", message=result.message)
        stage.artifact = result.artifact
        _mark_existing(turn, result)
    stage.scores, stage.checkpoint = stage.scores | result.scores, result.checkpoint or stage.checkpoint


def _mark_existing(turn: Turn, result: Result) -> None:
    """Stages whose complete artifact exists already are done and cost nothing."""
    for stage in turn.status.stages:
        key = result.existing.get(stage.name)
        if key and stage.state is StageState.PENDING and stage.attempt == 0:
            stage.state, stage.artifact, stage.reused = StageState.SUCCEEDED, key, True
            stage.completion_time = turn.stamp
            turn.tell("ArtifactReused", f"{stage.name.value}: artifact {key} exists")


def finish(turn: Turn, stage: StageStatus) -> None:
    """Every pod is gone, and what they mounted: the outcome takes effect."""
    outcome = stage.outcome or Outcome(state=StageState.PENDING, reason="Unknown", retry=True)
    progressed = advanced(turn.status, stage)
    if outcome.reason == ROTATED and not progressed:
        outcome = _fruitless_rotation(turn, stage, outcome)
    if outcome.reason == EXTENDED == last_reason(turn.status, stage) and not progressed:
        outcome = _fruitless_extension(turn, stage, outcome)
    record = record_attempt(turn.status, stage, outcome, turn.now)
    stage.run_seconds, stage.attempt_time = held_seconds(stage, turn.now), None
    stage.worked_seconds += stage.phases.working
    stage.prices, stage.template, stage.inputs, stage.generation = [], "", {}, 0
    stage.phases = stage.phases.model_copy(update={"placed_time": None, "held_since": None})
    stage.state, stage.outcome, stage.message = outcome.state, None, f"{outcome.reason}: {outcome.message}"[:1024]
    if outcome.state in (StageState.SUCCEEDED, StageState.FAILED):
        stage.completion_time = turn.stamp
    if outcome.state is StageState.SUCCEEDED:
        note_done(stage)
    elif outcome.state is not StageState.FAILED:
        note_attempt_over(stage)
    count(stage, outcome, progressed)
    if outcome.state is StageState.PENDING and (outcome.counted or outcome.infrastructure):
        stage.not_before = format_time(turn.now + pause_before_retry(stage, outcome))
    if record.held_seconds:
        stage.idle_tries, stage.idle_micro_usd = stage.idle_tries + 1, stage.idle_micro_usd + record.held_micro_usd
        stage.not_before = format_time(turn.now + pause_after_hold(turn, stage, record.held_seconds))
    turn.tell(f"Stage{outcome.state.value}", f"{stage.name.value}: {stage.message}", outcome.state is StageState.FAILED)


def count(stage: StageStatus, outcome: Outcome, progressed: bool) -> None:
    """Book the failure where it counts; progress makes the next backoff start anew."""
    failed = outcome.counted or outcome.infrastructure
    stage.failures += int(outcome.counted)
    stage.infrastructure_failures += int(outcome.infrastructure)
    stage.fruitless = 0 if progressed else stage.fruitless + int(failed)
    if progressed:
        stage.idle_tries = stage.idle_micro_usd = 0
    count_node_loss(stage, outcome.node)
    if outcome.failure_class is FailureClass.NOT_STARTED or outcome.idle:
        # Nothing could be placed: with fewer nodes left out there may be room.
        stage.node_losses = []


def pause_before_retry(stage: StageStatus, outcome: Outcome) -> timedelta:
    """The first loss of a node or pod was nobody's fault, so its successor starts at once."""
    return backoff(stage.fruitless if outcome.counted else stage.fruitless - 1)


def pause_after_hold(turn: Turn, stage: StageStatus, held: int) -> timedelta:
    """Until a cluster is asked for again whose placed pods were idle for `held` seconds."""
    lot = lot_of(turn.seen.job.uid, stage.name.value, stage.attempt, stage.idle_tries)
    deadline = timedelta(seconds=turn.spec.start_deadline_seconds)
    return pause(timedelta(seconds=held), deadline, stage.idle_tries, lot)


def _fruitless_rotation(turn: Turn, stage: StageStatus, outcome: Outcome) -> Outcome:
    """A whole lifetime without a checkpoint: the next would be paid for in vain as well."""
    message = f"{outcome.message} and saved nothing; raise it, or lower the checkpoint interval"
    return after_failure(Failure(FailureClass.INTERNAL, ROTATED, message), stage, turn.spec.retry)


def _fruitless_extension(turn: Turn, stage: StageStatus, outcome: Outcome) -> Outcome:
    """The second in a row. No budget need be the reason: whoever may change pods may lower their deadlines, each time anew."""
    message = f"{outcome.message}; nothing was saved. Where no budget bounds them, a webhook or policy lowers their `activeDeadlineSeconds`"
    return after_failure(Failure(FailureClass.INFRASTRUCTURE, EXTENDED, message), stage, turn.spec.retry)


def prune_stages(turn: Turn) -> None:
    """One entry a stage of the spec, in order; what is there already is kept."""
    have: dict[Stage, StageStatus] = {stage.name: stage for stage in turn.status.stages}
    turn.status.stages = [have.get(name) or StageStatus(name=name) for name in stages_of(turn.spec)]

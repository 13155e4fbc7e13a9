"""What the current attempt's pods and head tell of its time, kept in the status for pods that end after the head."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from llmtrain.api.stageconfig import Result
from llmtrain.api.status import Phases, Progress, StageStatus
from llmtrain_operator.attribution import attribute
from llmtrain_operator.billing import format_time
from llmtrain_operator.blueprints import is_elastic, least_workers
from llmtrain_operator.clocks import believed, parse_time
from llmtrain_operator.containers import stage_status, terminated, told
from llmtrain_operator.podstate import PodState
from llmtrain_operator.turn import Turn


def observe_phases(turn: Turn) -> None:
    """Update the current stage's phases from what was seen."""
    stage = turn.stage
    if stage is None or not turn.pods_of(stage):
        return
    head, before = turn.head_of(stage), stage.phases
    # Not the stage's stored progress: it may be that of an earlier attempt.
    progress = turn.seen.progress
    if head is not None and head.over:
        words = head.result() or progress
        stage.phases = _told(stage.phases, words).model_copy(update={"head_end": _end_of(head, turn.now)})
    else:
        stage.phases = _told(stage.phases, progress)
    attribute(stage, before, stage.phases, progress or stage.progress)
    stage.phases = stage.phases.model_copy(update={"complete_time": _completion(turn, stage)})


def _told(phases: Phases, by: Result | Progress | None) -> Phases:
    """What the head said; without any word the last ones stand."""
    if by is None:
        return phases
    said = {
        "working": int(by.working_seconds),
        "redone": int(by.redone_seconds),
        "checkpointing": int(by.checkpoint_seconds),
    }
    return phases.model_copy(update={key: max(value, getattr(phases, key)) for key, value in said.items()})


def _end_of(head: PodState, now: datetime) -> str | None:
    """When the stage ended in it, whatever ran on beside."""
    end = parse_time(terminated(stage_status(head.raw)).get("finishedAt"))
    return format_time(believed(head.raw, end, now)) if end else None


def _completion(turn: Turn, stage: StageStatus) -> str | None:
    """When the last pod of the first whole cluster started; of an elastic one, the last that it cannot do without."""
    if stage.phases.complete_time:
        return stage.phases.complete_time
    pods = turn.crew_of(stage)
    if is_elastic(turn.spec, stage.name):
        workers = sorted(_starts([pod for pod in pods if not pod.is_head], turn.now))
        heads, least = _starts([pod for pod in pods if pod.is_head], turn.now), least_workers(turn.spec, stage.name)
        return format_time(max(*heads, *workers[:least])) if heads and len(workers) >= least else None
    known = _starts(pods, turn.now)
    return format_time(max(known)) if len(known) == len(pods) == 1 + len(stage.workers) else None


def _starts(pods: Sequence[PodState], now: datetime) -> list[datetime]:
    """When the stage started in pods, of those in which it has."""
    runs = ((pod, run) for pod in pods for run in [*told(stage_status(pod.raw))][:1])
    times = ((pod, parse_time(run.get("startedAt"))) for pod, run in runs)
    return [time + (pod.correction(now) or timedelta(0)) for pod, time in times if time is not None]

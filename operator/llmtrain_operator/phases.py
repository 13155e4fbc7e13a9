"""What the current attempt's pods and head tell of its time, kept in the status for pods that end after the head."""

from datetime import datetime

from llmtrain.api.stageconfig import Result
from llmtrain.api.status import Phases, Progress, StageStatus
from llmtrain_operator.attribution import attribute
from llmtrain_operator.billing import Pod, container_statuses, format_time, parse_time
from llmtrain_operator.blueprints import is_elastic, least_workers
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
        told = head.result() or progress
        stage.phases = _told(stage.phases, told).model_copy(update={"head_end": _end_of(head.raw)})
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


def _end_of(pod: Pod) -> str | None:
    ends = [(s.get("state", {}).get("terminated") or {}).get("finishedAt") for s in container_statuses(pod)]
    return max((end for end in ends if end), default=None)


def _completion(turn: Turn, stage: StageStatus) -> str | None:
    """When the last pod of the first whole cluster started; of an elastic one, the last that it cannot do without."""
    if stage.phases.complete_time:
        return stage.phases.complete_time
    pods = turn.crew_of(stage)
    if is_elastic(turn.spec, stage.name):
        workers = sorted(_starts([pod for pod in pods if not pod.is_head]))
        heads, least = _starts([pod for pod in pods if pod.is_head]), least_workers(turn.spec, stage.name)
        return format_time(max(*heads, *workers[:least])) if heads and len(workers) >= least else None
    known = _starts(pods)
    return format_time(max(known)) if len(known) == len(pods) == 1 + len(stage.workers) else None


def _starts(pods: list[PodState]) -> list[datetime]:
    """When pods' containers started, of those that have."""
    times = (parse_time(_start_of(pod.raw)) for pod in pods)
    return [time for time in times if time is not None]


def _start_of(pod: Pod) -> str | None:
    for status in container_statuses(pod):
        for state in (status.get("state") or {}).values():
            if state and state.get("startedAt"):
                return str(state["startedAt"])
    return None

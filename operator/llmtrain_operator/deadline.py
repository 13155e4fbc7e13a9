"""Deadlines of what is running: of the job, of a stage, of progress, of the pods themselves."""

from datetime import timedelta

from llmtrain.api.failure import FailureClass
from llmtrain.api.status import Outcome, StageState, StageStatus
from llmtrain_operator.billing import parse_time
from llmtrain_operator.blueprints import cluster_of
from llmtrain_operator.history import held_seconds
from llmtrain_operator.retry import Failure, after_failure
from llmtrain_operator.stopping import ROTATED
from llmtrain_operator.turn import Turn

ROTATION_MARGIN = timedelta(minutes=5)


def run_deadline(turn: Turn, stage: StageStatus) -> Outcome | None:
    """The job or the stage has held clusters for as long as it may."""
    job = sum(s.run_seconds for s in turn.status.stages if s is not stage) + held_seconds(stage, turn.now)
    limits = [
        ("spec.runDeadlineSeconds", turn.spec.run_deadline_seconds, job),
        (
            f"spec.{stage.name.value.lower()}.cluster.runDeadlineSeconds",
            cluster_of(turn.spec, stage.name).run_deadline_seconds,
            held_seconds(stage, turn.now),
        ),
    ]
    for field, limit, seconds in limits:
        if limit and seconds >= limit:
            message = f"clusters were held for {seconds} s, `{field}` allows {limit}"
            return Outcome(state=StageState.FAILED, reason="DeadlineExceeded", message=message)
    return None


def rotation(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Leave before the pods' own deadline kills them."""
    since = parse_time(stage.attempt_time) or turn.now
    lifetime = timedelta(seconds=pod_lifetime(turn, stage))
    if turn.now - since < lifetime - min(ROTATION_MARGIN, lifetime / 4):
        return None
    message = f"its pods neared `spec.maxPodLifetimeSeconds` of {lifetime.seconds + lifetime.days * 86400}"
    return Outcome(state=StageState.PENDING, reason=ROTATED, message=message, retry=True)


def pod_lifetime(turn: Turn, stage: StageStatus) -> int:
    """Seconds after which the kubelet ends the pods; those that live keep what they were created with."""
    own = [pod.lifetime for pod in turn.pods_of(stage) if pod.lifetime]
    return min([turn.spec.max_pod_lifetime_seconds, *own])


def seconds_without_progress(turn: Turn, stage: StageStatus) -> int:
    """Seconds since the attempt last reported something new; 0 where it never answered."""
    since = parse_time(stage.progress_time)
    return max(0, int((turn.now - since).total_seconds())) if since else 0


def stall(turn: Turn, stage: StageStatus) -> Outcome | None:
    """A cluster that is paid for and answers, but gets nowhere, is given up."""
    limit, idle = turn.spec.stall_deadline_seconds, seconds_without_progress(turn, stage)
    if not limit or idle < limit or turn.seen.progress is None:
        return None
    message = f"no progress for {idle} s, `spec.stallDeadlineSeconds` allows {limit}"
    return after_failure(Failure(FailureClass.INTERNAL, "Stalled", message), stage, turn.spec.retry)


def take_progress(turn: Turn, stage: StageStatus) -> None:
    """Keep what the head said; note the time where it was news."""
    told = turn.seen.progress
    if told is None:
        return
    old = stage.progress
    marks = [(p.done, p.total, p.unit, p.detail, p.checkpoint) if p else None for p in (old, told)]
    if stage.progress_time is None or marks[0] != marks[1]:
        stage.progress_time = turn.stamp
    stage.progress, stage.checkpoint = told, told.checkpoint or stage.checkpoint

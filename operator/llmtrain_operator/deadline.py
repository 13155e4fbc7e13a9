"""Deadlines of what is running: of the job, of a stage, of progress, of the pods themselves."""

from datetime import timedelta

from llmtrain.api.failure import FailureClass
from llmtrain.api.status import Outcome, Progress, StageState, StageStatus
from llmtrain_operator.attribution import indices
from llmtrain_operator.billing import parse_time
from llmtrain_operator.blueprints import cluster_of
from llmtrain_operator.bounds import EXTENSION_SECONDS, extension, more_seconds, next_deadline
from llmtrain_operator.history import held_seconds
from llmtrain_operator.measuring import note_pace, note_share
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
    longest = turn.spec.max_pod_lifetime_seconds
    # An attempt of which nothing was placed has no pod whose deadline nears.
    since = parse_time(stage.phases.placed_time) or turn.now
    if turn.now - since >= timedelta(seconds=longest) - margin(longest):
        return _rotated(longest)
    found = next_deadline(turn, stage)
    if found is None or found[0] > margin(found[1].lifetime):
        return None
    left, pod = found
    if pod.lifetime >= longest:
        return _rotated(longest)
    # By a budget: new pods pay off where there is more to be had by now, otherwise the budget's stop is near.
    worth = more_seconds(turn, stage) >= left.total_seconds() + EXTENSION_SECONDS
    return extension() if worth else None


def margin(lifetime: int) -> timedelta:
    """How long before its deadline a pod's stage leaves."""
    return min(ROTATION_MARGIN, timedelta(seconds=lifetime) / 4)


def _rotated(lifetime: int) -> Outcome:
    message = f"its pods neared `spec.maxPodLifetimeSeconds` of {lifetime}"
    return Outcome(state=StageState.PENDING, reason=ROTATED, message=message, retry=True)


def seconds_without_progress(turn: Turn, stage: StageStatus) -> int:
    """Seconds since the attempt last reported something new; 0 where it never answered."""
    since = parse_time(stage.progress_time)
    return max(0, int((turn.now - since).total_seconds())) if since else 0


def stall(turn: Turn, stage: StageStatus) -> Outcome | None:
    """A cluster that is paid for and answers, but gets nowhere, is given up."""
    limit, idle = turn.spec.stall_deadline_seconds, seconds_without_progress(turn, stage)
    if not limit or idle < limit or turn.seen.progress is None or stage.phases.held_since:
        return None
    message = f"no progress for {idle} s, `spec.stallDeadlineSeconds` allows {limit}"
    return after_failure(Failure(FailureClass.INTERNAL, "Stalled", message), stage, turn.spec.retry)


def tell_group(turn: Turn, before: str, now: Progress) -> None:
    """An elastic training goes on with fewer workers than before, or with more."""
    old, new = len(indices(before)), len(indices(now.group))
    if old and new and old != new:
        word = "TrainingGrew" if new > old else "TrainingShrank"
        turn.tell(word, f"{new} workers train together instead of {old}, at {now.detail}", warning=new < old)


def take_progress(turn: Turn, stage: StageStatus) -> None:
    """Keep what the head said; note the time where it was news."""
    told = turn.seen.progress
    if told is None:
        return
    old = stage.progress
    marks = [(p.done, p.total, p.unit, p.detail, p.checkpoint) if p else None for p in (old, told)]
    if stage.progress_time is None or marks[0] != marks[1]:
        stage.progress_time = turn.stamp
    tell_group(turn, old.group if old else "", told)
    stage.progress, stage.checkpoint = told, told.checkpoint or stage.checkpoint
    note_share(stage, told)
    note_pace(stage, told)

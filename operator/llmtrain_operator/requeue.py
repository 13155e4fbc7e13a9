"""When a job is looked at again: a pure function of what was seen and decided. Whatever wakes the loop comes before that."""

from llmtrain_operator.billing import parse_time
from llmtrain_operator.observation import (
    CreateEvaluator,
    CreateHead,
    CreateWorker,
    Decision,
    DeletePod,
    Observation,
    ReleasePod,
)

RESYNC_SECONDS = 15.0
FINISHED_SECONDS = 120.0
"""A finished job costs nothing; what is left to do is its time to live."""
SOON_SECONDS = 1.0
ENDING_SECONDS = 5.0
"""Pods that end wake the loop; this is in case a watch has missed one. Of a hundred jobs that end at once, a look each second at
every one takes the time that their ends need."""
TOLD_BY_PODS = (CreateHead, CreateWorker, CreateEvaluator, DeletePod, ReleasePod)
"""Acts that show as changes of pods, which wake the loop."""


def requeue_after(seen: Observation, decision: Decision, moved: bool, done: bool) -> float:
    """Seconds until the next look: none after a step that no pod tells of, few while something is under way, else the resync period.

    `done`: something was carried out.
    """
    moves = done or (decision.actions and not seen.refusals)
    asked = seen.job.spec is not None and seen.job.spec.suspend
    suspended = asked and decision.status.state == "Suspended" and not decision.actions and not seen.pods
    if moved and not suspended and not any(isinstance(action, TOLD_BY_PODS) for action in decision.actions):
        return 0.0
    if any(pod.deleted for pod in seen.pods) or decision.status.state == "Stopping":
        return ENDING_SECONDS if seen.pods else SOON_SECONDS
    if moves:
        return SOON_SECONDS
    if decision.status.completion_time and not seen.pods:
        return _until_expiry(seen, decision)
    if decision.status.state != "Pending" or decision.status.waiting is None:
        return RESYNC_SECONDS if decision.status.state != "Pending" else SOON_SECONDS
    return min(RESYNC_SECONDS, max(SOON_SECONDS, _until_next_attempt(seen, decision)))


def _until_expiry(seen: Observation, decision: Decision) -> float:
    """Seconds until a finished job is deleted, two minutes at the most."""
    ended, spec = parse_time(decision.status.completion_time), seen.job.spec
    if ended is None or spec is None or not spec.ttl_seconds_after_finished:
        return FINISHED_SECONDS
    left = ended.timestamp() + spec.ttl_seconds_after_finished - seen.now.timestamp()
    return min(FINISHED_SECONDS, max(SOON_SECONDS, left))


def _until_next_attempt(seen: Observation, decision: Decision) -> float:
    """Seconds until the backoff of a pending stage is over; the resync period where there is none."""
    times = [parse_time(s.not_before) for s in decision.status.stages if s.not_before and s.state == "Pending"]
    left = [(time - seen.now).total_seconds() for time in times if time is not None]
    return min((seconds for seconds in left if seconds > 0), default=RESYNC_SECONDS)

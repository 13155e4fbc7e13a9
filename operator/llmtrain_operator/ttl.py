"""When a finished job ended, when it is deleted, and when a deleted one is let go."""

from datetime import timedelta

from llmtrain.api.status import StageState
from llmtrain_operator.billing import parse_time
from llmtrain_operator.observation import DeleteJob, Observation, ReleaseJob
from llmtrain_operator.turn import Turn

PATIENCE = timedelta(minutes=10)


def release_job(seen: Observation) -> ReleaseJob:
    """Let a deleted job go; one that could not be let go for a while goes with what it has reserved of budgets."""
    refused = next((one for one in seen.refusals if one.act == ReleaseJob.__name__), None)
    return ReleaseJob(patient=refused is None or seen.now - refused.since < PATIENCE)


def finished(turn: Turn) -> bool:
    """Every stage is done or one has failed, and no pod is left."""
    stage = turn.stage
    return (stage is None or stage.state is StageState.FAILED) and not turn.seen.pods


def expire(turn: Turn) -> None:
    """Note the end; delete the job once its time is up."""
    if not finished(turn):
        turn.status.completion_time = None
        return
    turn.status.completion_time = turn.status.completion_time or turn.stamp
    ended = parse_time(turn.status.completion_time) or turn.now
    ttl = turn.spec.ttl_seconds_after_finished
    if ttl and turn.now >= ended + timedelta(seconds=ttl):
        turn.actions.append(DeleteJob())

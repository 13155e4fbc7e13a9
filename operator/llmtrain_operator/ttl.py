"""When a finished job ended, and when it is deleted."""

from datetime import timedelta

from llmtrain.api.status import StageState
from llmtrain_operator.billing import parse_time
from llmtrain_operator.observation import DeleteJob
from llmtrain_operator.turn import Turn


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

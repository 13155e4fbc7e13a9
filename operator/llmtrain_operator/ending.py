"""A cluster that is taken down: what it waits for, and which bills are written together.

Of a hundred clusters that end at once, a look and a write at the end of each pod take the time that the ends themselves
need. So a job is woken once all that it waits for has come, and pods that end together are booked in one write.
"""

from datetime import timedelta

from llmtrain.api.status import StageState
from llmtrain_operator.observation import Tale
from llmtrain_operator.turn import Turn

TOGETHER = timedelta(seconds=5)
"""A pod that ended longer ago is booked, whatever others do. Its finalizer holds it until then, and its bill ends where it ended."""


def awaited(turn: Turn) -> dict[str, Tale]:
    """See Decision. While the head saves, every word of it counts: once its stage has ended the workers are paid for in vain.

    One that has yet to start has nothing to save; that it starts all the same is no news.
    """
    if turn.status.state not in ("Stopping", "Deleting"):
        return {}
    left = [pod for pod in turn.seen.pods if not turn.ended(pod)]
    stage = turn.stage
    head = turn.head_of(stage) if stage is not None and stage.state is StageState.STOPPING else None
    if head is not None and head in left and not head.over:
        return {head.uid: Tale.CHANGED if head.started else Tale.ENDED}
    return {pod.uid: Tale.ENDED for pod in left} or {pod.uid: Tale.GONE for pod in turn.seen.pods}


def unbooked(turn: Turn) -> frozenset[str]:
    """Uids of pods that have just ended while others of a cluster that is taken down have yet to."""
    stage = turn.stage
    if not turn.seen.job.deleted and (stage is None or stage.state is not StageState.STOPPING):
        return frozenset()
    settled = set(turn.status.ledger.settled)
    spans = {pod.uid: pod.span(turn.seen.nodes, turn.now) for pod in turn.seen.pods if pod.uid not in settled}
    ended = {uid: span.end for uid, span in spans.items() if span.final}
    if len(ended) in (0, len(spans)):
        return frozenset()
    since = turn.now - min(ended.values())
    return frozenset(ended) if timedelta(0) <= since < TOGETHER else frozenset()

"""Pods of a cluster that is being taken down are booked together: one write of the status costs more than reading them.

Between the end of the first and that of the last nothing can be lost: the finalizer keeps each pod and what it says of its
end, whoever restarts. The wait is bounded, so that a pod on a lost node does not keep the others' objects.
"""

from datetime import timedelta

from llmtrain.api.status import StageState
from llmtrain_operator.billing import interval
from llmtrain_operator.turn import Turn

LONGEST = timedelta(seconds=10)
"""After the last end; a worker is given half as long to end."""


def awaiting_others(turn: Turn) -> frozenset[str]:
    """Uids of pods whose bill is final and waits for that of the others; empty where it must be written now."""
    stage = turn.stage
    if stage is None or stage.state is not StageState.STOPPING or turn.seen.progress is not None:
        return frozenset()
    spans = {pod.uid: interval(pod.raw, turn.seen.nodes, turn.now) for pod in turn.seen.pods}
    new = {uid for uid, span in spans.items() if span.final} - set(turn.status.ledger.settled)
    held = all(pod.held for pod in turn.seen.pods if pod.uid in new)
    if not new or not held or all(span.final for span in spans.values()):
        return frozenset()
    return frozenset(new) if turn.now - max(spans[uid].end for uid in new) < LONGEST else frozenset()

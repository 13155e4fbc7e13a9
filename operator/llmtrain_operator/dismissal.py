"""Workers that their head needs no more: an evaluation whose own model is done asks endpoints, and accelerators would wait.

The head says so itself. It can lose nothing but its own workers by that, and the next attempt has them all again.
"""

from llmtrain.api.status import Stage, StageStatus
from llmtrain_operator.elastic import park
from llmtrain_operator.turn import Turn


def dismiss(turn: Turn, stage: StageStatus) -> None:
    """Take the workers of an evaluation away once its head has no work for them; the head goes on."""
    told = turn.seen.progress
    if stage.name is not Stage.EVALUATION or told is None or not told.workers_done or not stage.workers:
        return
    turn.tell(
        "WorkersDismissed", f"the model has been asked everything: {len(stage.workers)} workers go, the head goes on"
    )
    park(turn, stage, list(stage.workers))

"""What may follow from pods that were read a while ago: the running bill, what heads say, an end that is asked for. Nothing else.

Pods are created, billed for good and let go, and a job goes on to its next attempt or stage, on a live read alone: what
is kept may lack a pod that has come, or have one as it was before it ended.
"""

from datetime import timedelta

from llmtrain.api.status import JobStatus, StageState
from llmtrain_operator.observation import (
    Action,
    CreateEvaluator,
    CreateHead,
    CreateObjects,
    CreateWorker,
    Decision,
    DeleteJob,
    DeleteObjects,
    Observation,
    ReleaseJob,
    ReleasePod,
)

LIVE_WITHIN = timedelta(seconds=60)
"""A turn whose other reads took longer than this reads the pods again."""
CREATING = (CreateObjects, CreateHead, CreateWorker, CreateEvaluator)
FINALIZING = (ReleasePod, ReleaseJob, DeleteObjects, DeleteJob)


def is_live(seen: Observation) -> bool:
    """Whether the pods were read by this turn, and just now."""
    return seen.live and (seen.pods_read is None or seen.now - seen.pods_read <= LIVE_WITHIN)


def guarded(seen: Observation, decision: Decision) -> Decision:
    """The decision; on old reads, where it needs live ones, that it does, and nothing else."""
    if is_live(seen) or not needs_live(seen.job.status, decision):
        return decision
    return Decision(seen.job.status, stale=True)


def needs_live(before: JobStatus, decision: Decision) -> bool:
    """Whether something is created, settled, let go, or moved on."""
    return (
        any(_is_costly(action) for action in decision.actions)
        or _settles(before, decision.status)
        or _moves_on(before, decision.status)
    )


def _is_costly(action: Action) -> bool:
    return isinstance(action, CREATING + FINALIZING)


def _settles(before: JobStatus, after: JobStatus) -> bool:
    """A bill becomes final, or what was settled is dropped because its pod is gone."""
    return before.ledger.entries != after.ledger.entries or set(before.ledger.settled) != set(after.ledger.settled)


def _moves_on(before: JobStatus, after: JobStatus) -> bool:
    """Any step of a stage but into its stop, which takes nothing for gone."""
    old = {stage.name: (stage.state, stage.attempt) for stage in before.stages}
    new = {stage.name: (stage.state, stage.attempt) for stage in after.stages if stage.state is not StageState.STOPPING}
    return any(old.get(name, (StageState.PENDING, 0)) != step for name, step in new.items())

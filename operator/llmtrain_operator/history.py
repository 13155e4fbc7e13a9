"""What is kept of an attempt that is over: its record, the nodes it lost, whether it got anywhere."""

from datetime import datetime

from llmtrain.api.status import AttemptRecord, JobStatus, NodeLoss, Outcome, StageStatus
from llmtrain_operator.billing import format_time, parse_time

KEPT_ATTEMPTS = 32
KEPT_NODES = 16
EXCLUDED_AFTER = 2
"""Losses with one node after which a stage's pods avoid it."""


def record_attempt(status: JobStatus, stage: StageStatus, outcome: Outcome, now: datetime) -> AttemptRecord:
    """Append the attempt and return its record; the oldest record goes where there are too many."""
    record = AttemptRecord(
        stage=stage.name,
        attempt=stage.attempt,
        start_time=stage.attempt_time,
        end_time=format_time(now),
        reason=outcome.reason,
        message=outcome.message,
        failure_class=outcome.failure_class,
        exit_code=outcome.exit_code,
        node=outcome.node,
        checkpoint=stage.checkpoint,
        cost_micro_usd=status.ledger.total_micro_usd - stage.billed_before_micro_usd,
    )
    if outcome.idle:
        record.held_seconds, record.held_micro_usd = _held(stage, outcome, record.cost_micro_usd, now)
    status.history = [*status.history, record][-KEPT_ATTEMPTS:]
    return record


def _held(stage: StageStatus, outcome: Outcome, cost: int, now: datetime) -> tuple[int, int]:
    """Seconds and microdollars of an attempt that was given back; of one that never was whole, all of it."""
    whole = stage.phases.complete_time is not None
    since = parse_time(stage.phases.held_since if whole else stage.phases.placed_time)
    seconds = max(0, int((now - since).total_seconds())) if since else 0
    return seconds, outcome.idle_micro_usd if whole else cost


def was_given_back(status: JobStatus, stage: StageStatus) -> bool:
    """Whether the stage's last attempt ended because the rest of its cluster found no place."""
    last = next((record for record in reversed(status.history) if record.stage is stage.name), None)
    return last is not None and last.held_seconds > 0


def last_reason(status: JobStatus, stage: StageStatus) -> str:
    """Why the stage's last attempt before this one ended; empty where there was none."""
    return next((record.reason for record in reversed(status.history) if record.stage is stage.name), "")


def advanced(status: JobStatus, stage: StageStatus) -> bool:
    """Whether the stage knows a newer checkpoint than at the end of its last attempt."""
    before = next((r.checkpoint for r in reversed(status.history) if r.stage is stage.name), "")
    return bool(stage.checkpoint) and stage.checkpoint != before


def count_node_loss(stage: StageStatus, node: str) -> None:
    """Remember that the stage lost something with this node."""
    if not node:
        return
    before = next((loss.losses for loss in stage.node_losses if loss.node == node), 0)
    others = [loss for loss in stage.node_losses if loss.node != node]
    stage.node_losses = [*others, NodeLoss(node=node, losses=before + 1)][-KEPT_NODES:]


def excluded_nodes(stage: StageStatus) -> list[str]:
    """Nodes that the stage's next pods avoid."""
    return sorted(loss.node for loss in stage.node_losses if loss.losses >= EXCLUDED_AFTER)


def held_seconds(stage: StageStatus, now: datetime) -> int:
    """Seconds that the stage has held clusters, the current one from its first placed pod on included."""
    since = parse_time(stage.phases.placed_time)
    return stage.run_seconds + (max(0, int((now - since).total_seconds())) if since else 0)

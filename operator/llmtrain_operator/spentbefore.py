"""What a job had spent at a moment that is past: what was settled, and what its pods had come to by then."""

from datetime import datetime

from llmtrain_operator.billing import parse_time
from llmtrain_operator.exposure import price_for, settled_micro_usd
from llmtrain_operator.podstate import PodState
from llmtrain_operator.turn import Turn


def spent_before(turn: Turn, start: str) -> int:
    """The job's bill at that moment, microdollars; nothing where it was made later, or `start` is empty.

    By the plans' rules as if pods had ended then, so that what lies before and what lies behind add up to the bill. Pods that
    were settled in earlier turns are taken to have ended before: it is exact in the first turn after the moment.
    """
    moment, created = parse_time(start), str(turn.seen.job.raw["metadata"].get("creationTimestamp", ""))
    if moment is None or created >= start:
        return 0
    known, booked = set(turn.seen.job.status.ledger.settled), set(turn.status.ledger.settled)
    pods = [pod for pod in turn.seen.pods if pod.uid not in known]
    just = sum(_owed(turn, pod) for pod in pods if pod.uid in booked)
    return settled_micro_usd(turn.status.ledger) - just + sum(_owed(turn, pod, moment) for pod in pods)


def _owed(turn: Turn, pod: PodState, moment: datetime | None = None) -> int:
    """By the pod at that moment, or now."""
    span = pod.span(turn.seen.nodes, turn.now)
    if span.start is None:
        return 0
    seconds = span.seconds if moment is None else min(span.seconds, int((moment - span.start).total_seconds()))
    return price_for(pod.price, seconds)

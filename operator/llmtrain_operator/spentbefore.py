"""What a job has spent by calendar month, as its ledger has it, and so what it had spent when a month began."""

from collections import Counter
from collections.abc import Iterator, Mapping

from llmtrain.api.status import JobStatus
from llmtrain.cost.periods import Share, Tariff, shares
from llmtrain_operator.podstate import PodState
from llmtrain_operator.turn import Turn

MONTH = len("2026-11")


def settled_by_month(status: JobStatus, created: str) -> Counter[str]:
    """Microdollars that are settled. What an earlier version settled, which noted no month, is of the one in which its stage began,
    or the job, which was `created` then.
    """
    begun = {stage.name: stage.start_time for stage in status.stages}
    sums = Counter[str]()
    for entry in status.ledger.entries:
        sums[entry.month or (begun.get(entry.stage) or created)[:MONTH]] += entry.cost_micro_usd
    return sums


def spent_by_month(turn: Turn) -> Counter[str]:
    """The same, and what pods that are not settled have come to by now.

    By the plans' rules as if they had ended at each boundary, so that the months add up to the bill.
    """
    sums = settled_by_month(turn.status, str(turn.seen.job.raw["metadata"].get("creationTimestamp") or ""))
    settled = set(turn.status.ledger.settled)
    for pod in turn.seen.pods:
        if pod.uid not in settled:
            for part in _parts(turn, pod):
                sums[part.month] += part.cost_micro_usd
    return sums


def before(months: Mapping[str, int], start: str) -> int:
    """What of that was spent before this moment, which is the first of a month; nothing where it is empty."""
    return sum(micro for month, micro in months.items() if month < start[:MONTH])


def spent_before(turn: Turn, start: str) -> int:
    """The job's bill at that moment, microdollars."""
    return before(spent_by_month(turn), start) if start else 0


def all_dated(status: JobStatus) -> bool:
    """Whether every settled bill says in which month it accrued."""
    return all(entry.month for entry in status.ledger.entries)


def _parts(turn: Turn, pod: PodState) -> Iterator[Share]:
    span = pod.span(turn.seen.nodes, turn.now)
    if span.start is not None:
        price = pod.price
        yield from shares(
            span.start, span.seconds, Tariff(price.microUsdPerHour, price.incrementSeconds, price.minimumSeconds)
        )

"""What is owed now, in two numbers that have these names wherever they stand.

`cost` is what is settled, and what pods alive owe whatever their kubelets report later: it never falls. `cost now` counts these
pods up to now, as if no end of one were yet to be reported: it is the better guess, and may be corrected down.
"""

from llmtrain.api.status import HighWater, Ledger

HOUR_SECONDS = 3600


def cost_now_micro_usd(ledger: Ledger) -> int:
    """Cost now, microdollars, as the operator counted it last; the cost where it is an older one that did not."""
    return max(ledger.total_micro_usd, ledger.cost_now_micro_usd)


def cost_now_usd(ledger: Ledger) -> str:
    """Cost now, US dollars, as the operator wrote it; the cost where it is an older one that did not."""
    return ledger.cost_now_usd or ledger.cost_usd


def cost_now_after(ledger: Ledger, seconds: float) -> int:
    """The same so many seconds later, microdollars: less what no pod is certain to have reached by then, its increment."""
    burn = sum(mark.micro_usd_per_hour for mark in ledger.high_water if _grows(mark))
    return cost_now_micro_usd(ledger) + int(burn * max(0.0, seconds) / HOUR_SECONDS)


def _grows(mark: HighWater) -> bool:
    """Whether each second of the pod costs something: it is placed and has not ended, and no minimum or increment is paid for ahead."""
    placed = mark.alive_seconds > 0 and not mark.ended
    return placed and mark.increment_seconds <= 1 and mark.alive_seconds >= mark.minimum_seconds

"""What a job would have cost if it were told to stop: the bill that nothing can bring down any more.

A stop takes time: the next look, the head's grace to save, the workers' end. The pods bill meanwhile, by their plans'
increments and minimums. A job that stops while this sum still fits its limit ends below it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from llmtrain.api.status import Ledger, Progress
from llmtrain.cost.money import amount_micro_usd, billed_seconds
from llmtrain_operator.billing import Node, bill
from llmtrain_operator.manifests import GRACE_SECONDS
from llmtrain_operator.podstate import PodState
from llmtrain_operator.pricing import Price

LOOK_SECONDS = 30
"""Longest time to the next look: the resync of 15 s, and as much again for a slow apiserver."""
TEARDOWN_SECONDS = 20
"""From the head's end to the last worker's: seen, five seconds of grace, the kubelet's own delay."""
SAVE_MARGIN = 2
"""A save may take this many times as long as the longest that was measured."""
SAVE_FLOOR_SECONDS = 10
"""For what surrounds the save: the signal, the result, the container's end."""


def save_seconds(progress: Progress | None) -> int:
    """Grace of a head that is told to save: what was measured, with a margin; all it may have where nothing was."""
    if progress is None or progress.save_seconds <= 0:
        return GRACE_SECONDS
    return min(GRACE_SECONDS, SAVE_MARGIN * progress.save_seconds + SAVE_FLOOR_SECONDS)


def stop_seconds(progress: Progress | None) -> int:
    """From the decision to stop until the last pod has ended, at most."""
    return save_seconds(progress) + TEARDOWN_SECONDS


def settled_micro_usd(ledger: Ledger) -> int:
    """The final part of the bill."""
    return sum(entry.cost_micro_usd for entry in ledger.entries)


def exposure(
    ledger: Ledger,
    pods: Sequence[PodState],
    nodes: Mapping[str, Node],
    now: datetime,
    seconds: int,
    more: Iterable[Price],
) -> int:
    """The whole bill, microdollars, if every pod that lives, and `more` that are asked for now, end in `seconds`."""
    settled = set(ledger.settled)
    alive = [pod for pod in pods if pod.uid not in settled]
    owed = sum(_owed(pod, nodes, now, seconds) for pod in alive)
    return settled_micro_usd(ledger) + owed + sum(price_for(price, seconds) for price in more)


def price_for(price: Price, seconds: int) -> int:
    """What a pod of this price owes for so many seconds."""
    return amount_micro_usd(
        billed_seconds(seconds, price.incrementSeconds, price.minimumSeconds), price.microUsdPerHour
    )


def _owed(pod: PodState, nodes: Mapping[str, Node], now: datetime, seconds: int) -> int:
    """A pod that is not scheduled yet may be at once."""
    span = pod.span(nodes, now)
    if span.final:
        return bill(pod.raw, pod.price, pod.accelerators, nodes, now).micro_usd
    start = min(span.start or now, now)
    return price_for(pod.price, int((now + timedelta(seconds=seconds) - start).total_seconds()))

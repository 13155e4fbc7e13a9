"""What is owed now beside the cost that never falls: what pods alive owe if they end now, and why that was corrected down."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from llmtrain.api.status import Ledger
from llmtrain.cost.money import format_usd
from llmtrain.text import plain
from llmtrain_operator.billing import Node, format_time
from llmtrain_operator.exposure import exposure
from llmtrain_operator.podstate import PodState

SHOWN_PODS = 3


def with_cost_now(
    ledger: Ledger, before: Ledger, pods: Sequence[PodState], nodes: Mapping[str, Node], now: datetime
) -> Ledger:
    """The ledger with its cost now; `before`: as it was stored, whose cost now people have seen."""
    micro = max(ledger.total_micro_usd, exposure(ledger, pods, nodes, now, 0, ()))
    changes = {"cost_now_micro_usd": micro, "cost_now_usd": format_usd(micro)}
    less = before.cost_now_micro_usd - micro
    if less > 0:
        changes["correction"] = plain(
            f"{format_time(now)}: {format_usd(less)} USD less: {_why(ledger, before, pods)}", 1024
        )
    return ledger.model_copy(update=changes)


def _why(ledger: Ledger, before: Ledger, pods: Sequence[PodState]) -> str:
    """What has been learnt since."""
    over = {*ledger.settled, *(mark.uid for mark in ledger.high_water if mark.ended)}
    known = {*before.settled, *(mark.uid for mark in before.high_water if mark.ended)}
    ended = sorted(pod.name for pod in pods if pod.uid in over - known)
    if ended:
        more = f" and {len(ended) - SHOWN_PODS} more" if len(ended) > SHOWN_PODS else ""
        return f"{', '.join(ended[:SHOWN_PODS])}{more} had ended before the time up to which they were counted"
    if {mark.uid for mark in before.high_water} - {mark.uid for mark in ledger.high_water} - over:
        return "a pod is gone, and is billed up to when it was last seen"
    return "what is known of when the pods started or ended was corrected"

"""Settlement: every pod's bill is booked exactly once, whoever deletes the pod and whenever the operator dies.

(1) the pod has stopped by the rule of billing.py; (2) one status write adds its amounts and its uid to `settled`;
(3) its finalizer is removed; (4) once the object is gone the uid is dropped. Repeating any step changes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from llmtrain.api.status import HighWater, Ledger, LedgerEntry, Stage
from llmtrain.cost.money import format_usd
from llmtrain_operator.billing import Bill, Node, bill, interval
from llmtrain_operator.podstate import PodState


def settle(ledger: Ledger, pods: Sequence[PodState], nodes: Mapping[str, Node], now: datetime) -> Ledger:
    """The ledger after this observation; the one passed in is left alone."""
    entries = {_key(entry): entry.model_copy() for entry in ledger.entries}
    marks = {mark.uid: mark for mark in ledger.high_water}
    alive = {pod.uid for pod in pods}
    settled = [uid for uid in ledger.settled if uid in alive]
    for pod in pods:
        if pod.uid in settled:
            continue
        before, mark = marks.pop(pod.uid, None), _mark(pod, bill(pod.raw, nodes, now))
        if interval(pod.raw, nodes, now).final:
            _book(entries, mark)
            settled.append(pod.uid)
        else:
            marks[pod.uid] = _raise(before, mark)
    for uid in [uid for uid in marks if uid not in alive]:
        _book(entries, marks.pop(uid))
    return _total(ledger, list(entries.values()), settled, list(marks.values()))


def vanished(ledger: Ledger, pods: Sequence[PodState]) -> list[HighWater]:
    """Pods that are gone though they were never settled: somebody stripped the finalizer."""
    alive = {pod.uid for pod in pods}
    return [mark for mark in ledger.high_water if mark.uid not in alive]


def _key(item: LedgerEntry | HighWater) -> tuple[str, str, str, str]:
    return item.stage.value, item.role, item.plan, item.tenure


def _mark(pod: PodState, owed: Bill) -> HighWater:
    return HighWater(
        uid=pod.uid,
        stage=Stage(pod.stage),
        role=pod.role,
        plan=owed.price.plan,
        tenure=owed.price.tenure,
        pod_seconds=owed.seconds,
        billed_seconds=owed.billed,
        accelerator_seconds=owed.accelerator_seconds,
        cost_micro_usd=owed.micro_usd,
    )


def _raise(before: HighWater | None, now: HighWater) -> HighWater:
    """A high-water mark never falls, so counters do not either, whatever a clock does."""
    return before if before is not None and before.pod_seconds > now.pod_seconds else now


def _book(entries: dict[tuple[str, str, str, str], LedgerEntry], mark: HighWater) -> None:
    key = _key(mark)
    entry = entries.setdefault(key, LedgerEntry(stage=mark.stage, role=mark.role, plan=mark.plan, tenure=mark.tenure))
    entry.pods += 1
    entry.pod_seconds += mark.pod_seconds
    entry.billed_seconds += mark.billed_seconds
    entry.accelerator_seconds += mark.accelerator_seconds
    entry.cost_micro_usd += mark.cost_micro_usd


def _total(ledger: Ledger, entries: list[LedgerEntry], settled: list[str], marks: list[HighWater]) -> Ledger:
    total = sum(entry.cost_micro_usd for entry in entries) + sum(mark.cost_micro_usd for mark in marks)
    return ledger.model_copy(
        update={
            "entries": entries,
            "settled": settled,
            "high_water": marks,
            "total_micro_usd": total,
            "cost_usd": format_usd(total),
        }
    )

"""Settlement: every pod's bill is booked exactly once, whoever deletes the pod and whenever the operator dies.

(1) the pod has stopped by the rule of billing.py; (2) one status write adds its amounts and its uid to `settled`;
(3) its finalizer is removed; (4) once the object is gone the uid is dropped. Repeating any step changes nothing.

A pod that lives has a high-water mark: what it owes at least, and when it was last observed alive. One that vanishes
unsettled, its finalizer stripped by hand, is billed up to then; so is one whose status no longer tells of what it did,
because its kubelet rejected it after a restart.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from llmtrain.api.status import (
    AttemptRecord,
    HighWater,
    Ledger,
    LedgerEntry,
    Phases,
    Split,
    Stage,
    StageStatus,
)
from llmtrain.cost.money import amount_micro_usd, billed_seconds, format_usd
from llmtrain.cost.periods import Share, Tariff, shares
from llmtrain.ledger.document import COUNTS
from llmtrain_operator import wastesplit
from llmtrain_operator.attribution import Shares
from llmtrain_operator.billing import Interval, Node, bill, format_time, parse_time
from llmtrain_operator.incidents import CLOCK_OFF, MINIMUM, REJECTED, VANISHED, Incidents
from llmtrain_operator.podstate import PodState
from llmtrain_operator.power import joules
from llmtrain_operator.provisional import certain_seconds
from llmtrain_operator.wastebook import WasteBook

Key = tuple[str, str, str, str, str]
"""Stage, role, plan, tenure, month."""


def settle(
    ledger: Ledger,
    pods: Sequence[PodState],
    nodes: Mapping[str, Node],
    now: datetime,
    stage: StageStatus | None = None,
    later: Collection[str] = (),
    history: Sequence[AttemptRecord] = (),
) -> Ledger:
    """The ledger after this observation; the one passed in is left alone.

    `stage`: the one whose phases are known. `later`: uids of pods that are not booked yet though they have ended. `history`:
    attempts that are over; what was wasted may be theirs.
    """
    entries = {_key(entry): entry.model_copy() for entry in ledger.entries}
    waste, incidents = WasteBook(ledger), Incidents(stage, history, nodes, now)
    marks = {mark.uid: mark for mark in ledger.high_water}
    alive, phases = {pod.uid for pod in pods}, Shares(stage)
    settled = [uid for uid in ledger.settled if uid in alive]
    booked = set(settled)
    for pod in pods:
        if pod.uid in booked:
            continue
        before, span = marks.pop(pod.uid, None), pod.span(nodes, now)
        if span.final and before is None and not pod.held:
            # Booked and let go before, and out of sight in between: somebody had taken its labels off. To bill it again would be
            # wrong, and of a pod that was never seen alive there is nothing to bill but what nobody saw.
            settled.append(pod.uid)
        elif span.final and pod.uid not in later:
            if before is not None and _says_less(pod, span, before):
                parts, cause = vanished_entries(before, now), _unseen(REJECTED if pod.rejected else CLOCK_OFF)
            else:
                parts, cause = final_entries(pod, span, nodes, phases.of(pod)), partial(incidents.cause, pod)
            _book(entries, waste, parts, pod.node, cause)
            settled.append(pod.uid)
        else:
            marks[pod.uid] = grown(before, pod, span, now, nodes) if before else mark_of(pod, span, now, nodes)
    for uid in [uid for uid in marks if uid not in alive]:
        _book(entries, waste, vanished_entries(marks.pop(uid), now), "", _unseen(VANISHED))
    after = ledger.model_copy(update=waste.update())
    return _total(after, list(entries.values()), settled, list(marks.values()))


def _unseen(cause: str) -> Callable[[str], str]:
    """Causes by kind of waste, of a pod that does not tell what it did."""
    return lambda kind: MINIMUM if kind == "minimum" else cause


def _says_less(pod: PodState, span: Interval, before: HighWater) -> bool:
    """The object says that it ended before what was seen of it, and is not believed: its kubelet has rejected it since, or its
    node's times contradict when the apiserver was told, which whoever may edit the pod may edit.
    """
    in_doubt = pod.rejected or pod.clock_off(span.end) is not None
    return in_doubt and before.pod_seconds > span.seconds


def remembered(ledger: Ledger, marks: Sequence[HighWater]) -> Ledger:
    """The ledger with these marks too, of pods of which it says nothing yet."""
    known = {mark.uid for mark in ledger.high_water} | set(ledger.settled)
    new = [mark for mark in marks if mark.uid not in known]
    return ledger.model_copy(update={"high_water": [*ledger.high_water, *new]}) if new else ledger


def vanished(ledger: Ledger, pods: Sequence[PodState]) -> list[HighWater]:
    """Pods that are gone though they were never settled: somebody stripped the finalizer."""
    alive = {pod.uid for pod in pods}
    return [mark for mark in ledger.high_water if mark.uid not in alive]


def doubted(ledger: Ledger, pods: Sequence[PodState]) -> list[PodState]:
    """Pods whose annotation contradicts their price, of which the ledger does not say yet that it was told."""
    known = {mark.uid for mark in ledger.high_water if mark.doubted} | set(ledger.settled)
    return [pod for pod in pods if pod.doubt and pod.uid not in known]


def final_entries(pod: PodState, span: Interval, nodes: Mapping[str, Node], phases: Phases) -> list[LedgerEntry]:
    """The bill of a pod that has ended, month by month."""
    owed = bill(pod.raw, pod.price, pod.accelerators, nodes, span.end)
    split = wastesplit.split_pod(pod, span, owed.billed, phases)
    whole = LedgerEntry(
        stage=Stage(pod.stage),
        role=pod.role,
        plan=owed.price.plan,
        tenure=owed.price.tenure,
        pods=1,
        pod_seconds=owed.seconds,
        split=split,
        energy_joules=joules(pod.power, owed.seconds, split.working + split.redone),
    )
    rule = (owed.price.microUsdPerHour, owed.price.incrementSeconds, owed.price.minimumSeconds, pod.accelerators)
    return by_month(whole, span.start or span.end, Tariff(*rule))


def by_month(whole: LedgerEntry, start: datetime, tariff: Tariff) -> list[LedgerEntry]:
    """The bill of one pod of which seconds, split and electricity are known, by month; the pod itself is counted where it ended.

    The split is cut in its own order, as if the pod had first waited and then worked; the electricity by seconds.
    """
    found = list[LedgerEntry]()
    *full, last = shares(start, whole.pod_seconds, tariff)
    left = whole.model_copy(update={"pods": 0})
    seconds = told = 0
    for part in full:
        seconds += part.pod_seconds
        joules_there = whole.energy_joules * seconds // whole.pod_seconds - told
        split, told = wastesplit.first(left.split, part.billed_seconds), told + joules_there
        found.append(_of_month(left, part, {"split": split, "energy_joules": joules_there}))
        left = left.model_copy(update={"split": wastesplit.less(left.split, split)})
    # Nearly every pod ends in the month that it began in: no part of its bill is then worked out twice.
    rest = {"pods": whole.pods, "energy_joules": whole.energy_joules - told}
    return [*found, _of_month(left, last, rest)]


def _of_month(whole: LedgerEntry, part: Share, changes: Mapping[str, object]) -> LedgerEntry:
    """What a month has of a bill."""
    entry = whole.model_copy(update={**vars(part), **changes})
    entry.cost_split = wastesplit.money(entry.split, part.cost_micro_usd)
    return entry


def mark_of(pod: PodState, span: Interval, now: datetime, nodes: Mapping[str, Node]) -> HighWater:
    """The mark of a pod that was just observed alive."""
    price, held = pod.price, pod.accelerators
    seconds = min(span.seconds, certain_seconds(pod.raw, span.start, now, nodes))
    billed = billed_seconds(seconds, price.incrementSeconds, price.minimumSeconds)
    return HighWater(
        uid=pod.uid,
        start_time=format_time(span.start) if span.start else None,
        stage=Stage(pod.stage),
        role=pod.role,
        plan=price.plan,
        tenure=price.tenure,
        alive_seconds=span.seconds,
        micro_usd_per_hour=price.microUsdPerHour,
        increment_seconds=price.incrementSeconds,
        minimum_seconds=price.minimumSeconds,
        accelerators=held,
        doubted=bool(pod.doubt),
        ended=span.final,
        **_amounts(seconds, billed, held, price.microUsdPerHour),
    )


def grown(before: HighWater, pod: PodState, span: Interval, now: datetime, nodes: Mapping[str, Node]) -> HighWater:
    """The mark of a pod that has one. It never falls, so counters do not either, whatever a clock does."""
    if not _has_terms(before, pod):
        return raised(before, mark_of(pod, span, now, nodes))
    seconds = min(span.seconds, certain_seconds(pod.raw, span.start, now, nodes))
    start = before.start_time or (format_time(span.start) if span.start else None)
    changes: dict[str, object] = {
        "alive_seconds": max(before.alive_seconds, span.seconds),
        "doubted": before.doubted or bool(pod.doubt),
        "ended": span.final,
        "start_time": start,
    }
    if seconds >= before.pod_seconds:
        billed = billed_seconds(seconds, before.increment_seconds, before.minimum_seconds)
        changes |= _amounts(seconds, billed, before.accelerators, before.micro_usd_per_hour)
    return before.model_copy(update=changes)


def _has_terms(mark: HighWater, pod: PodState) -> bool:
    """The mark says who the pod is and what it costs: nearly always, for the price of a pod is what its mark says."""
    price = pod.price
    return (
        mark.role == pod.role
        and mark.stage.value == pod.stage
        and (mark.plan, mark.tenure) == (price.plan, price.tenure)
        and (mark.micro_usd_per_hour, mark.accelerators) == (price.microUsdPerHour, pod.accelerators)
        and (mark.increment_seconds, mark.minimum_seconds) == (price.incrementSeconds, price.minimumSeconds)
    )


def priced(mark: HighWater, seconds: int) -> HighWater:
    """The mark with the amounts of so many seconds."""
    billed = billed_seconds(seconds, mark.increment_seconds, mark.minimum_seconds)
    return mark.model_copy(update=_amounts(seconds, billed, mark.accelerators, mark.micro_usd_per_hour))


def _amounts(seconds: int, billed: int, accelerators: int, hour: int) -> dict[str, int]:
    return {
        "pod_seconds": seconds,
        "billed_seconds": billed,
        "accelerator_seconds": billed * accelerators,
        "cost_micro_usd": amount_micro_usd(billed, hour),
    }


def raised(before: HighWater, now: HighWater) -> HighWater:
    """The higher of two marks of a pod."""
    alive = max(before.alive_seconds, now.alive_seconds)
    higher, doubted = before if before.pod_seconds > now.pod_seconds else now, before.doubted or now.doubted
    start = before.start_time or now.start_time
    told = {"alive_seconds": alive, "doubted": doubted, "ended": now.ended, "start_time": start}
    return (
        higher
        if all(getattr(higher, name) == value for name, value in told.items())
        else higher.model_copy(update=told)
    )


def vanished_entries(mark: HighWater, now: datetime) -> list[LedgerEntry]:
    """The bill of a pod that nobody can look at any more: up to when it was last observed alive, month by month."""
    owed = priced(mark, max(mark.alive_seconds, mark.pod_seconds))
    fields = {name: getattr(owed, name) for name in ("stage", "role", "plan", "tenure", "pod_seconds")}
    split = Split(starting=owed.pod_seconds, minimum=owed.billed_seconds - owed.pod_seconds)
    whole = LedgerEntry(pods=1, split=split, **fields)
    # An operator that noted no start observed it as alive a moment before this one came.
    start = parse_time(mark.start_time) or now - timedelta(seconds=owed.pod_seconds)
    return by_month(whole, start, tariff_of(mark))


def tariff_of(mark: HighWater) -> Tariff:
    """By which a pod that is not settled is billed."""
    return Tariff(mark.micro_usd_per_hour, mark.increment_seconds, mark.minimum_seconds, mark.accelerators)


def _key(item: LedgerEntry) -> Key:
    return item.stage.value, item.role, item.plan, item.tenure, item.month


def _book(
    entries: dict[Key, LedgerEntry],
    waste: WasteBook,
    parts: Iterable[LedgerEntry],
    node: str,
    cause: Callable[[str], str],
) -> None:
    """The bill of one pod, by month."""
    for one in parts:
        waste.book(one, node, cause)
        _add(entries, one)


def _add(entries: dict[Key, LedgerEntry], one: LedgerEntry) -> None:
    entry = entries.get(_key(one))
    if entry is None:
        entries[_key(one)] = one
        return
    for name in COUNTS:
        setattr(entry, name, getattr(entry, name) + getattr(one, name))
    entry.split = wastesplit.add(entry.split, one.split)
    entry.cost_split = wastesplit.add(entry.cost_split, one.cost_split)


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

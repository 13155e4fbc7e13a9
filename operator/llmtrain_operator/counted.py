"""What counters tell of waste and electricity: the settled part, and of pods alive what their final bill will contain.

A pod may run for days before it is settled. Of its time these are certain before: what it waited and pulled, what the head
told of work done again and of checkpoints, and how it is being taken down. The rest is work or start-up; which, its end
tells, as it does whether the plan's minimum was more than it used. Nothing told ever falls: where a provisional part was too
high, or was told as another kind, the counters stand until that is caught up.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from llmtrain.api.status import Amounts, Counted, HighWater, Ledger, Split, Stage, StageStatus
from llmtrain.ledger.goodput import KINDS, WASTE
from llmtrain_operator import wastesplit
from llmtrain_operator.attribution import Shares
from llmtrain_operator.billing import Interval, condition_time
from llmtrain_operator.podstate import PodState
from llmtrain_operator.power import joules

Key = tuple[Stage, str, str, str]
CERTAIN = tuple(kind for kind in WASTE if kind not in ("starting", "minimum"))
"""Parts that no later report makes smaller."""


class Told(NamedTuple):
    """Microdollars of waste by kind, and joules: plain numbers, for this is worked out for every pod at every look."""

    waste: dict[str, int]
    """Less kinds of which there is none."""
    energy_joules: int


def counted(ledger: Ledger, pods: Sequence[PodState], stage: StageStatus | None) -> list[Counted]:
    """One entry a stage, role, plan and tenure; none lower than in `ledger.counted`."""
    alive, shares = {pod.uid: pod for pod in pods}, Shares(stage)
    sums: dict[Key, Told] = {}
    for entry in ledger.entries:
        _add(sums, entry, Told(wastesplit.seconds_of(entry.cost_split), entry.energy_joules))
    for mark in ledger.high_water:
        if mark.uid in alive:
            _add(sums, mark, certain(alive[mark.uid], mark, shares))
    for told in ledger.counted:
        _raise(sums, told)
    order = [key_of(item) for item in ledger.counted]
    keys = [*order, *(key for key in sums if key not in order)]
    return [_counted(key, sums[key]) for key in keys]


def certain(pod: PodState, mark: HighWater, shares: Shares) -> Told:
    """What the final bill of a pod that lives will contain, whatever comes."""
    start = condition_time(pod.raw, "PodScheduled", status="True")
    if start is None:
        return Told({}, 0)
    span = Interval(start, start + timedelta(seconds=mark.pod_seconds), final=False)
    parts = wastesplit.parts_of(pod, span, shares.of(pod))
    energy = joules(pod.power, mark.pod_seconds, parts["working"] + parts["redone"])
    return Told(_worth(parts, mark.micro_usd_per_hour), energy)


def key_of(item: Amounts | Counted) -> Key:
    """What amounts are added up by."""
    return item.stage, item.role, item.plan, item.tenure


def _worth(parts: Mapping[str, int], hour: int) -> dict[str, int]:
    """Price of each part that is certain, microdollars, less the half that rounding the whole bill may take."""
    return {kind: max(0, (2 * parts[kind] * hour - 3600) // 7200) for kind in CERTAIN if parts[kind]}


def _add(sums: dict[Key, Told], item: Amounts, more: Told) -> None:
    key = key_of(item)
    there = sums.get(key)
    if there is None:
        sums[key] = more
        return
    for kind, micro in more.waste.items():
        there.waste[kind] = there.waste.get(kind, 0) + micro
    if more.energy_joules:
        sums[key] = Told(there.waste, there.energy_joules + more.energy_joules)


def _raise(sums: dict[Key, Told], before: Counted) -> None:
    """Nothing that was told falls, and what was told as one kind and is of another by now is not told again."""
    now = sums.get(key_of(before), Told({}, 0))
    old = wastesplit.seconds_of(before.waste)
    parts = {kind: max(old[kind], now.waste.get(kind, 0)) for kind in KINDS}
    surplus = sum(max(0, old[kind] - now.waste.get(kind, 0)) for kind in WASTE)
    for kind in reversed(WASTE):
        held = min(surplus, parts[kind] - old[kind])
        parts[kind], surplus = parts[kind] - held, surplus - held
    sums[key_of(before)] = Told(parts, max(before.energy_joules, now.energy_joules))


def _counted(key: Key, told: Told) -> Counted:
    stage, role, plan, tenure = key
    waste = Split(**told.waste)
    return Counted(stage=stage, role=role, plan=plan, tenure=tenure, waste=waste, energy_joules=told.energy_joules)

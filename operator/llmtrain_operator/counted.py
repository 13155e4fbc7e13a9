"""What counters tell of waste and electricity: the settled part, and of pods alive what their final bill will contain.

A pod may run for days before it is settled. Of its time these are certain before: what it waited and pulled, what the head
told of work done again and of checkpoints, and how it is being taken down. The rest is work or start-up; which, its end
tells. Nothing told ever falls: where a provisional part was too high, the counter stands until it is caught up.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from llmtrain.api.status import Amounts, Counted, HighWater, Ledger, Split, Stage, StageStatus
from llmtrain_operator import wastesplit
from llmtrain_operator.billing import Interval, condition_time
from llmtrain_operator.podstate import PodState
from llmtrain_operator.power import frozen_power, joules
from llmtrain_operator.settlement import phases_of

Key = tuple[Stage, str, str, str]


def counted(ledger: Ledger, pods: Sequence[PodState], stage: StageStatus | None) -> list[Counted]:
    """One entry a stage, role, plan and tenure; none lower than in `ledger.counted`."""
    before = {key_of(item): item for item in ledger.counted}
    alive = {pod.uid: pod for pod in pods}
    parts = [Counted(**_labels(e), waste=e.cost_split, energy_joules=e.energy_joules) for e in ledger.entries]
    parts += [certain(alive[mark.uid], mark, stage) for mark in ledger.high_water if mark.uid in alive]
    now = _summed(parts)
    return [_raised(before.get(key, item), now.get(key, item)) for key, item in (before | now).items()]


def certain(pod: PodState, mark: HighWater, stage: StageStatus | None) -> Counted:
    """What the final bill of a pod that lives will contain, whatever comes."""
    start = condition_time(pod.raw, "PodScheduled", status="True")
    if start is None:
        return Counted(**_labels(mark))
    span = Interval(start, start + timedelta(seconds=mark.pod_seconds), final=False)
    split = wastesplit.split_pod(pod.raw, span, mark.pod_seconds, phases_of(pod, stage))
    return Counted(
        **_labels(mark),
        waste=_worth(split.model_copy(update={"starting": 0, "working": 0}), mark.micro_usd_per_hour),
        energy_joules=joules(frozen_power(pod.raw), mark.pod_seconds, split),
    )


def key_of(item: Amounts | Counted) -> Key:
    """What amounts are added up by."""
    return item.stage, item.role, item.plan, item.tenure


def _labels(item: Amounts) -> Mapping[str, str]:
    return {"stage": item.stage, "role": item.role, "plan": item.plan, "tenure": item.tenure}


def _worth(split: Split, hour: int) -> Split:
    """Each part's price, microdollars, less the half that rounding the whole bill may take."""
    parts = wastesplit.seconds_of(split)
    return Split(**{kind: max(0, (2 * seconds * hour - 3600) // 7200) for kind, seconds in parts.items()})


def _summed(parts: Iterable[Counted]) -> dict[Key, Counted]:
    sums: dict[Key, Counted] = {}
    for part in parts:
        there = sums.get(key_of(part))
        sums[key_of(part)] = _added(there, part) if there else part
    return sums


def _added(one: Counted, other: Counted) -> Counted:
    waste = wastesplit.add(one.waste, other.waste)
    return one.model_copy(update={"waste": waste, "energy_joules": one.energy_joules + other.energy_joules})


def _raised(before: Counted, now: Counted) -> Counted:
    waste = wastesplit.highest(before.waste, now.waste)
    return now.model_copy(update={"waste": waste, "energy_joules": max(before.energy_joules, now.energy_joules)})

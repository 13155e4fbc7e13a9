"""Where a pod's billed seconds went: waiting, pulling, starting, working, redone, checkpointing, stopping, minimum.

Times of the pod object say when it waited, pulled and was told to stop; the head says how long the work moved forward.
The parts add up to the billed seconds by construction: each takes what the ones before it left, and what the plan bills
beyond the pod's end is `minimum`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmtrain.api.status import Phases, Split
from llmtrain.ledger.goodput import KINDS
from llmtrain_operator.billing import Interval, deletion_time
from llmtrain_operator.clocks import condition_time, parse_time
from llmtrain_operator.containers import Pod, stage_status, terminated, told
from llmtrain_operator.podstate import PodState

PARTS = tuple(kind for kind in KINDS if kind != "minimum")
"""Kinds of seconds in which there is a pod."""


@dataclass
class _Rest:
    """Seconds that are not yet given to a part."""

    seconds: int

    def take(self, wanted: float) -> int:
        """As many of them as there are."""
        taken = max(0, min(self.seconds, int(wanted)))
        self.seconds -= taken
        return taken


def split_pod(pod: PodState, span: Interval, billed: int, phases: Phases) -> Split:
    """The split of one pod that has ended and is billed for so many seconds."""
    return Split(**parts_of(pod, span, phases), minimum=max(0, billed - span.seconds))


def parts_of(state: PodState, span: Interval, phases: Phases) -> dict[str, int]:
    """The seconds of its interval by kind, as plain numbers: they are asked for of every pod at every look."""
    if span.start is None:
        return {}
    pod, stage = state.raw, stage_status(state.raw)
    wrong = state.correction(span.end)
    started, taken = _started(stage), condition_time(pod, "PodReadyToStartContainers", "True") or _accepted(pod)
    if wrong:
        started, taken = started and started + wrong, taken and taken + wrong
    begun = started or span.end
    ready = min(begun, taken or span.start)
    # What a wrong clock says of the stage's end is not when the pod had nothing more to do.
    own = None if wrong is not None else parse_time(terminated(stage).get("finishedAt"))
    stop = _stop_began(pod, span, phases, own)
    # In this order: each takes what the ones before it left.
    wanted = (
        ("waiting", _between(span.start, ready)),
        ("pulling", _between(max(ready, span.start), begun)),
        ("stopping", _between(max(begun, stop), span.end)),
        ("waiting", _between(begun, parse_time(phases.complete_time) or begun)),
        ("working", phases.working),
        ("redone", phases.redone),
        ("checkpointing", phases.checkpointing),
    )
    left, found = span.seconds, dict.fromkeys(PARTS, 0)
    for kind, seconds in wanted:
        if seconds > 0:
            part = min(left, int(seconds))
            found[kind] += part
            left -= part
    found["starting"] = left
    return found


def add(one: Split, other: Split) -> Split:
    """Sum, part by part."""
    return Split(**{kind: getattr(one, kind) + getattr(other, kind) for kind in KINDS})


def first(split: Split, seconds: int) -> Split:
    """The part that lies in so many of the first billed seconds: what a pod waited comes first, how it stopped last."""
    rest = _Rest(seconds)
    return Split(**{kind: rest.take(part) for kind, part in seconds_of(split).items()})


def less(one: Split, other: Split) -> Split:
    """Difference, part by part."""
    return Split(**{kind: getattr(one, kind) - getattr(other, kind) for kind in KINDS})


def highest(one: Split, other: Split) -> Split:
    """The higher of both, part by part."""
    return Split(**{kind: max(getattr(one, kind), getattr(other, kind)) for kind in KINDS})


def money(split: Split, cost: int) -> Split:
    """The cost by the seconds' shares, in whole microdollars; the largest part takes what rounding leaves."""
    seconds = seconds_of(split)
    billed = sum(seconds.values())
    shares = {kind: cost * part // billed if billed else 0 for kind, part in seconds.items()}
    largest = max(seconds, key=lambda kind: seconds[kind])
    shares[largest] += cost - sum(shares.values())
    return Split(**shares)


def seconds_of(split: Split) -> dict[str, int]:
    """The parts by name."""
    return {kind: getattr(split, kind) for kind in KINDS}


def _between(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds() if end > begin else 0.0


def _started(stage: Mapping[str, Any]) -> datetime | None:
    """When its stage's container started."""
    times = (parse_time(run.get("startedAt")) for run in told(stage))
    return min((time for time in times if time is not None), default=None)


def _accepted(pod: Pod) -> datetime | None:
    """When the kubelet took the pod."""
    return parse_time(pod.get("status", {}).get("startTime"))


def _stop_began(pod: Pod, span: Interval, phases: Phases, own: datetime | None) -> datetime:
    """When there was nothing more to do: the head had ended, or the cluster or the pod was told to, or the pod's own stage had.

    A pod whose kubelet is done says no more when it was told.
    """
    times = [span.end, parse_time(phases.head_end), parse_time(phases.stop_time), deletion_time(pod), own]
    return min(time for time in times if time is not None)

"""Whether a job may be left alone for a while: its pods move on their own, and nothing follows from time alone.

A job that nobody touches changes only by the clock: deadlines, its budget, the bill. Each of these is a limit that is
passed once and stays passed. So a turn from which nothing followed looks at what it saw with the time of its next look:
where nothing follows from that either, nothing does in between. Any change of the job or its pods wakes it before.

What a live turn saw is kept, packed, and the next looks begin with it instead of asking the apiserver for what it would
have told: they may write the running bill and what the head says, and leave whatever else follows to a live turn.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import from_json, to_json

from llmtrain.api.status import JobStatus
from llmtrain_operator.client import Object
from llmtrain_operator.decide import foresee
from llmtrain_operator.observation import Decision, Observation

LOOK_SECONDS = 60
LONGEST_TRUST = timedelta(minutes=5)
AHEAD = timedelta(minutes=15)
"""How far a calm job is looked ahead: where a limit is nearer, it is looked a minute ahead each minute."""
LIVE_A_SECOND, NEWS_A_SECOND = 3, 16
"""Live looks at jobs that nobody has touched, and statuses written only because heads have said something, all jobs together.

The bills of a thousand jobs are sixteen writes a second.
"""
GROWING = {"podSeconds", "billedSeconds", "acceleratorSeconds", "costMicroUsd", "aliveSeconds", "ended"}
"""Of a pod that lives."""
YOUNG_SECONDS = 5
"""A pod that was placed more recently makes no write of its own: its bill is part of the next, a look later at most."""


@dataclass(frozen=True)
class Crowd:
    """The jobs that share an apiserver: the more they are, the more is taken on trust, and the later news are told."""

    jobs: int
    heard: datetime | None = None
    """When the watch of pods last said anything: what it told of nobody has not changed since."""

    @property
    def trust(self) -> timedelta:
        """How old what was kept may be; then it is read anew, in case a watch has missed something without noticing."""
        return min(LONGEST_TRUST, timedelta(seconds=self.jobs / LIVE_A_SECOND))

    @property
    def pace(self) -> float:
        """Seconds between two writes of what a job's head says."""
        return self.jobs / NEWS_A_SECOND


@dataclass(frozen=True)
class Kept:
    """A job's pods as a live turn listed them at `read`; compressed, a tenth of their size."""

    read: datetime
    packed: bytes

    def pods(self) -> list[Object]:
        """As they were listed."""
        return list(unpack(self.packed))


def keep(seen: Observation) -> Kept:
    """The pods that were seen."""
    return Kept(seen.pods_read or seen.now, pack([less_owners(pod.raw) for pod in seen.pods]))


def pack(json: Object | Sequence[Object]) -> bytes:
    """JSON, compressed."""
    return zlib.compress(to_json(json), 1)


def unpack(packed: bytes) -> Any:
    """What was packed."""
    return from_json(zlib.decompress(packed))


def less_owners(raw: Mapping[str, Any]) -> Object:
    """Without `managedFields`, a third of an object: of who wrote what, only when the status was last told decides anything."""
    entries = raw["metadata"].get("managedFields") or []
    told = [{"subresource": "status", "time": one.get("time")} for one in entries if one.get("subresource") == "status"]
    return {**raw, "metadata": {**raw["metadata"], "managedFields": told}}


def leaves_alone(seen: Observation, decision: Decision) -> bool:
    """There is nothing to do, and nobody is about to move the job: pods that end do, and what it waits for before it has any wakes
    nobody.
    """
    waits = bool(seen.refusals) or bool(seen.unread) or decision.status.state == "Pending"
    ending = any(pod.deleted or pod.cut_off or pod.over for pod in seen.pods)
    return not decision.actions and not waits and not ending


def stand(status: JobStatus) -> object:
    """Where the job and its stages stand; what moves that is for a live turn."""
    return status.state, [(stage.state, stage.attempt, stage.outcome) for stage in status.stages]


def next_look(uid: str, now: datetime) -> datetime:
    """When a job at rest is looked at again, a minute later at most: its bill is due."""
    return now + timedelta(seconds=until_look(uid, now))


def stays(seen: Observation, decision: Decision, status: Mapping[str, Any], then: datetime) -> bool:
    """Whether nothing follows from time alone until then. `status`: the decision's, as JSON."""
    job = replace(seen.job, status=decision.status)
    ahead = foresee(replace(seen, job=job, now=then, pods_read=None, progress=None))
    return not ahead.actions and not ahead.events and lasting(ahead.status.to_dict()) == lasting(status)


def lasting(status: Mapping[str, Any]) -> Object:
    """The status less what grows by itself while pods run, and less uids of settled pods: any new one has its bill.

    A uid that is dropped, its object being gone, leaves with whatever is written next. So do rates, when the cluster was placed and whole, and
    the head's end, which pods tell until they are booked. What people are told grows as well: it says how much is held idle, and what is
    left of a budget; its reason does not.
    """
    kept = less(status, {"comparison", "forecast", "etaSeconds", "accelerators"})
    sums = {"totalMicroUsd", "costUsd", "costNowMicroUsd", "costNowUsd", "counted", "settled", "burnMicroUsdPerHour"}
    ledger = less(status.get("ledger", {}), sums)
    old = [mark for mark in ledger.get("highWater", []) if mark.get("aliveSeconds", 0) >= YOUNG_SECONDS]
    ledger["highWater"] = [less(mark, GROWING) for mark in old]
    told = {"headEnd", "completeTime", "placedTime", "heldSince"}
    stages = [stage | {"phases": less(stage.get("phases", {}), told)} for stage in status.get("stages", [])]
    return kept | {
        "stages": stages,
        "ledger": ledger,
        "waiting": less(status.get("waiting") or {}, {"heldMicroUsd", "message"}),
        "conditions": [less(one, {"message"}) for one in status.get("conditions", [])],
    }


def less(whole: Mapping[str, Any], parts: Collection[str]) -> Object:
    """A copy without these."""
    return {key: value for key, value in whole.items() if key not in parts}


def until_look(uid: str, now: datetime) -> float:
    """Seconds to the next second that is the job's own within the minute, so that a thousand jobs never turn at once."""
    return LOOK_SECONDS - (now.timestamp() + zlib.crc32(uid.encode()) % LOOK_SECONDS) % LOOK_SECONDS

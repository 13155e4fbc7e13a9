"""What a quiet turn saw, kept so that time alone can be looked at without asking the apiserver.

A job that nobody touches changes only by the clock: deadlines, its budget, the bill. Such a look may conclude that
nothing is to be done, and nothing else: whatever else follows from it, a turn with live reads finds out and does.
Once a minute there is a live turn in any case, each job's at a second of its own.
"""

import json
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import from_json

from llmtrain.api.status import Progress
from llmtrain_operator.client import Object
from llmtrain_operator.observation import Job, Observation
from llmtrain_operator.podstate import PodState

LIVE_SECONDS = 60
GROWING = {"podSeconds", "billedSeconds", "acceleratorSeconds", "costMicroUsd", "aliveSeconds"}
"""Of a pod that lives."""


@dataclass(frozen=True)
class Rest:
    """An observation as JSON, a tenth of what its objects take in memory."""

    job: bytes
    """With the status that the turn left."""
    pods: bytes
    rest: Observation
    """Everything but the job and its pods."""
    until: datetime
    """When the next live turn is due."""

    def observation(
        self, now: datetime, progress: Progress | None, parse: Callable[[dict[str, object]], Job]
    ) -> Observation:
        """As it would be seen now if nobody touched anything."""
        pods = [PodState(raw) for raw in from_json(self.pods)]
        return replace(self.rest, job=parse(from_json(self.job)), pods=pods, now=now, progress=progress)


def keep(seen: Observation, status: dict[str, object]) -> Rest | None:
    """What a quiet turn saw; None where others decide too: budgets are shared, and pods that end move the job."""
    if seen.budgets or seen.refusal or any(pod.deleted or pod.cut_off or pod.over for pod in seen.pods):
        return None
    job = json.dumps({**seen.job.raw, "metadata": _slim(seen.job.raw["metadata"]), "status": status})
    pods = json.dumps([{**pod.raw, "metadata": _slim(pod.raw["metadata"])} for pod in seen.pods])
    empty = replace(seen, job=replace(seen.job, raw={}, spec=None), pods=(), progress=None)
    until = seen.now + timedelta(seconds=until_live(seen.job.uid, seen.now))
    return Rest(job.encode(), pods.encode(), empty, until)


def _slim(metadata: Mapping[str, Any]) -> Object:
    return less(metadata, {"managedFields"})


def lasting(status: Mapping[str, Any]) -> Object:
    """The status less what grows by itself while pods run, and less uids of settled pods: any new one has its bill.

    One that is dropped, its object being gone, leaves with whatever is written next.
    """
    kept = less(status, {"comparison", "forecast", "etaSeconds"})
    ledger = less(status.get("ledger", {}), {"totalMicroUsd", "costUsd", "counted", "settled"})
    ledger["highWater"] = [less(mark, GROWING) for mark in ledger.get("highWater", [])]
    conditions = [
        less(one, {"message"}) if one["type"] == "BudgetAvailable" else one for one in status.get("conditions", [])
    ]
    return kept | {
        "ledger": ledger,
        "waiting": less(status.get("waiting") or {}, {"heldMicroUsd"}),
        "conditions": conditions,
    }


def less(whole: Mapping[str, Any], parts: Collection[str]) -> Object:
    """A copy without these."""
    return {key: value for key, value in whole.items() if key not in parts}


def until_live(uid: str, now: datetime) -> float:
    """Seconds to the next second that is the job's own within the minute, so that a thousand jobs never turn at once."""
    return LIVE_SECONDS - (now.timestamp() + zlib.crc32(uid.encode()) % LIVE_SECONDS) % LIVE_SECONDS

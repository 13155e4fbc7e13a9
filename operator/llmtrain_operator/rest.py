"""Whether a job may be left alone for a while: its pods move on their own, and nothing follows from time alone.

A job that nobody touches changes only by the clock: deadlines, its budget, the bill. Each of these is a limit that is
passed once and stays passed. So a turn from which nothing followed looks at what it saw with the time of its next look:
where nothing follows from that either, nothing does in between. Any change of the job or its pods wakes it before.
"""

import zlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from llmtrain_operator.client import Object
from llmtrain_operator.decide import foresee
from llmtrain_operator.observation import Decision, Observation

LIVE_SECONDS = 60
GROWING = {"podSeconds", "billedSeconds", "acceleratorSeconds", "costMicroUsd", "aliveSeconds"}
"""Of a pod that lives."""


def quiet_until(seen: Observation, decision: Decision, status: Mapping[str, Any]) -> datetime | None:
    """When a job must be looked at again; None where that is soon: something would follow, or others decide too.

    `status`: the decision's, as JSON. Budgets are shared, pods that end move the job, and what a job waits for before it
    has pods, a plan for example, wakes nobody.
    """
    if seen.budgets or seen.refusal or decision.status.state == "Pending":
        return None
    if any(pod.deleted or pod.cut_off or pod.over for pod in seen.pods):
        return None
    until = seen.now + timedelta(seconds=until_live(seen.job.uid, seen.now))
    job = replace(seen.job, status=decision.status)
    then = foresee(replace(seen, job=job, now=until, progress=None))
    still = not then.actions and not then.events and lasting(then.status.to_dict()) == lasting(status)
    return until if still else None


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

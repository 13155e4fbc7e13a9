"""A job that nobody reconciles says so, though nothing else of it moves: its loop ended in a bug of ours, or what it looks at first,
its pods, cannot be read.
"""

import logging
from datetime import datetime

from llmtrain.api import API_VERSION
from llmtrain.api.job import Condition
from llmtrain.api.status import Waiting
from llmtrain.text import plain
from llmtrain_operator.billing import format_time
from llmtrain_operator.client import ApiError, Cluster, Object

log = logging.getLogger("llmtrain.operator")
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
REASON = "ReconcileFailed"
UNREAD = "JobUnread"
"""Reason where it is the apiserver that refuses, or does not answer."""
KIND = "Progressing"


async def tell_crash(cluster: Cluster, namespace: str, name: str, error: BaseException, now: datetime) -> bool:
    """Write the condition, unless it stands there already. False where that is refused: the loop goes on, or is started anew, all the same."""
    try:
        raw = await cluster.get(JOBS, namespace, name)
        status = told_crash(raw, error, now) if raw is not None else None
        if raw is not None and status is not None:
            await cluster.replace(JOBS, namespace, name, {**raw, "status": status}, "status")
    except ApiError as refused:
        log.warning("job %s/%s: that nobody reconciles it could not be told: %s", namespace, name, refused)
        return False
    return True


def told_crash(raw: Object, error: BaseException, now: datetime) -> Object | None:
    """The job's status with the condition; None where it says so already. The rest of it is left as it was."""
    said = plain(f"{type(error).__name__}: {error}", 512)
    message = f"the operator cannot reconcile this job and tries again, ever more slowly; its pods run on: {said}"
    reason = UNREAD if isinstance(error, ApiError) else REASON
    status = raw.get("status") if isinstance(raw.get("status"), dict) else {}
    listed = (status or {}).get("conditions")
    conditions = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    before = next((one for one in conditions if one.get("type") == KIND), {})
    if (before.get("status"), before.get("message")) == ("False", message):
        return None
    condition = Condition(
        type=KIND,
        status="False",
        reason=reason,
        message=message,
        last_transition_time=str(before["lastTransitionTime"]) if _stands(before) else format_time(now),
        observed_generation=max(0, int(raw["metadata"].get("generation") or 0)),
    )
    others = [one for one in conditions if one.get("type") != KIND]
    told = {**(status or {}), "conditions": [*others, condition.to_dict()]}
    if reason == UNREAD:
        told["waiting"] = Waiting(reason=reason, message=message, since=condition.last_transition_time).to_dict()
    return told


def _stands(before: Object) -> bool:
    """The condition was False before, since a time that is told."""
    return before.get("status") == "False" and isinstance(before.get("lastTransitionTime"), str)

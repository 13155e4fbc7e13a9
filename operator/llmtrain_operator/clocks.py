"""Whose clock a time of a pod is, and what is billed where a node's is minutes off.

A pod is placed, deleted and disrupted by the control plane's clock; when its containers started and ended is told by its
node's. These two are compared here, for a bill that ends before it starts, or tomorrow, is no bill. The apiserver notes
when it was last told of a pod's status: no container has ended later than that was told.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from llmtrain_operator.containers import Pod, container_statuses, told

FIRST_YEAR, LAST_YEAR = 1970, 2199
TOLERANCE = timedelta(seconds=30)
"""Clocks that are kept in step differ by less, and bills are not touched then; the mark of a bill follows at more."""

FROM_THE_FUTURE = timedelta(minutes=5)
"""The operator's own clock is behind the apiserver's by less."""


def parse_time(text: object) -> datetime | None:
    """A time of the API, to the second; None for what is none, or lies outside the years 1970 to 2199, in which all bills are."""
    return _parse_time(text) if isinstance(text, str) and text else None


@lru_cache(maxsize=16384)
def _parse_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time if FIRST_YEAR <= time.year <= LAST_YEAR else None


def condition_time(pod: Pod, kind: str, status: str | None = None) -> datetime | None:
    """When a condition took its present status, if it has the one that is asked for."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == kind and (status is None or condition["status"] == status):
            return parse_time(condition.get("lastTransitionTime"))
    return None


def last_condition_time(pod: Pod) -> datetime | None:
    """The latest transition among the pod's conditions."""
    times = [parse_time(c.get("lastTransitionTime")) for c in pod.get("status", {}).get("conditions", [])]
    return max((time for time in times if time is not None), default=None)


def believed(pod: Pod, end: datetime, now: datetime) -> datetime:
    """An end that the pod's node tells; where its clock is off, when the apiserver was told that the pod is over.

    That is no earlier than the true end, and no later than anybody could have seen it.
    """
    return end if skew(pod, end, now) is None else reported(pod, now) or now


def skew(pod: Pod, end: datetime | None, now: datetime) -> timedelta | None:
    """By how much the node's clock is off at least: above zero ahead, below behind; None: it is not known to be off.

    Nothing on a node begins before the pod was placed there, and nothing has happened after it was told.
    """
    placed = condition_time(pod, "PodScheduled", status="True")
    times = [time for text in _texts(pod, ("startedAt",)) if (time := parse_time(text))] + ([end] if end else [])
    if not times or placed is None:
        return None
    ahead, behind = max(times) - (reported(pod, now) or now), min(times) - placed
    if ahead > TOLERANCE:
        return ahead
    return behind if behind < -TOLERANCE else None


def clock_off(pod: Pod, now: datetime) -> timedelta | None:
    """The same by all that the pod's node has told so far."""
    if in_order(pod):
        return None
    runs = (run for status in container_statuses(pod) for run in told(status))
    ends = [time for run in runs if (time := parse_time(run.get("finishedAt")))]
    return skew(pod, max(ends, default=None), now)


def correction(pod: Pod, now: datetime) -> timedelta | None:
    """What brings the times that the pod's node tells to where they most likely were: it took the pod when that was placed.

    None: they may stand as they are.
    """
    if clock_off(pod, now) is None:
        return None
    placed, taken = condition_time(pod, "PodScheduled", status="True"), parse_time(pod["status"].get("startTime"))
    return placed - taken if placed and taken else timedelta(0)


def reported(pod: Pod, now: datetime) -> datetime | None:
    """When the apiserver was last told of the pod's status, by its own clock.

    None where nobody has noted it, or where what is noted cannot be: whoever may edit a pod may edit that, and no status
    was told before the pod was placed, or is yet to be told.
    """
    time, placed = parse_time(_reported(pod)), condition_time(pod, "PodScheduled", status="True")
    if time is None or time > now + FROM_THE_FUTURE:
        return None
    return None if placed is not None and time < placed - TOLERANCE else time


def _reported(pod: Pod) -> str | None:
    latest = ""
    for entry in pod["metadata"].get("managedFields") or ():
        if entry.get("subresource") == "status":
            latest = max(latest, entry.get("time") or "")
    return latest or None


def in_order(pod: Pod) -> bool:
    """The node's times lie between the pod's placement and the apiserver's last word of it; `clock_off` then says None.

    Every pod is asked at every look, and nearly all say yes: the API writes times so that they sort as text.
    """
    texts = _texts(pod, ("startedAt", "finishedAt"))
    latest = _reported(pod) if texts else None
    if latest is None or max(texts) > latest:
        return not texts
    for condition in pod["status"].get("conditions", ()):
        if condition["type"] == "PodScheduled":
            return bool(condition["status"] == "True" and condition["lastTransitionTime"] <= min(texts))
    return False


def _texts(pod: Pod, keys: tuple[str, ...]) -> list[str]:
    """What the node tells of the pod's time: when it took it, and of each run of a container."""
    status = pod["status"]
    found = [status.get("startTime")]
    for containers in ("initContainerStatuses", "containerStatuses"):
        for one in status.get(containers) or ():
            for when in ("state", "lastState"):
                runs = one.get(when)
                if runs:
                    found += [run[key] for run in runs.values() for key in keys if key in run]
    return [text for text in found if text]

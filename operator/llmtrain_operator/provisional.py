"""What a pod that is not settled owes at least: a bill that no later report of its kubelet can undercut.

The rule of the bill lets a running pod end now. But a container may have ended already: its kubelet reports that some
seconds later, and a node that crashed and comes back reports it much later. So a mark follows at a distance, and stops
once the pod is not ready: the node controller says so 40 to 55 s after a kubelet's last word.
"""

from datetime import datetime, timedelta

from llmtrain_operator.billing import (
    Pod,
    condition_time,
    container_statuses,
    deletion_time,
    last_condition_time,
    parse_time,
)

REPORT = timedelta(seconds=60)
"""No running container's end stays unreported for longer while its pod is ready."""


def certain_seconds(pod: Pod, start: datetime | None, now: datetime) -> int:
    """Seconds from the start that the final bill will contain, whatever comes; 0 for a pod that is not scheduled."""
    end = certain_end(pod, now)
    return 0 if start is None or end is None else max(0, int((end - start).total_seconds()))


def certain_end(pod: Pod, now: datetime) -> datetime | None:
    """The pod's bill does not end before this."""
    states = [status.get("state", {}) for status in container_statuses(pod)]
    running = [state["running"] for state in states if state.get("running")]
    if not running:
        return _unstarted_end(pod, states)
    begun = [time for time in (parse_time(state.get("startedAt")) for state in running) if time]
    return max([*begun, _told(pod, now) - REPORT])


def _unstarted_end(pod: Pod, states: list[dict[str, dict[str, str]]]) -> datetime | None:
    """A pod that fails before a container starts is billed up to its last condition, or to its deletion (b, c)."""
    ended = [parse_time((state.get("terminated") or {}).get("finishedAt")) for state in states]
    finished = [time for time in ended if time is not None]
    if finished:
        return max(finished)
    limits = [last_condition_time(pod), deletion_time(pod)]
    return min((time for time in limits if time is not None), default=None)


def _told(pod: Pod, now: datetime) -> datetime:
    """The last time that anybody vouched for the pod: now, or when it was cut off, evicted or told to end."""
    limits = [now, condition_time(pod, "Ready", "False"), condition_time(pod, "DisruptionTarget", "True")]
    limits.append(parse_time(pod["metadata"].get("deletionTimestamp")))
    return min(time for time in limits if time is not None)

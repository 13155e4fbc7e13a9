"""What a pod that is not settled owes at least: a bill that no later report of its kubelet can undercut.

The rule of the bill lets a running pod end now. But a container may have ended already: its kubelet reports that some
seconds later, and a node that crashed and comes back reports it much later. So a mark follows at a distance, and stops
once the pod is not ready: the node controller says so 40 to 55 s after a kubelet's last word.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from llmtrain_operator.billing import Node, deletion_time, is_told
from llmtrain_operator.clocks import believed, condition_time, last_condition_time, parse_time
from llmtrain_operator.containers import Pod, State, container_statuses, is_running, told

REPORT = timedelta(seconds=60)
"""No running container's end stays unreported for longer while its pod's node answers."""


def certain_seconds(pod: Pod, start: datetime | None, now: datetime, nodes: Mapping[str, Node]) -> int:
    """Seconds from the start that the final bill will contain, whatever comes; 0 for a pod that is not scheduled."""
    end = certain_end(pod, now, nodes)
    return 0 if start is None or end is None else max(0, int((end - start).total_seconds()))


def certain_end(pod: Pod, now: datetime, nodes: Mapping[str, Node]) -> datetime | None:
    """The pod's bill does not end before this, or not before `now` where that is earlier: a node's clock may be ahead."""
    statuses = container_statuses(pod)
    ends = [time for status in statuses for run in told(status) if (time := _time(run, "finishedAt"))]
    finished = [believed(pod, max(ends), now)] if ends else []
    running = [status["state"]["running"] for status in statuses if is_running(status)]
    if running:
        cap = _cap(pod, now)
        begun = [min(time, cap) for run in running if (time := _time(run, "startedAt"))]
        known = [*begun, _vouched(pod, cap, nodes) - REPORT]
    else:
        known = [] if is_told(pod) else _unstarted(pod)
    return max([*finished, *known], default=None)


def _time(run: State, key: str) -> datetime | None:
    return parse_time(run.get(key))


def _unstarted(pod: Pod) -> list[datetime]:
    """A pod that fails before its stage starts is billed up to its last condition, or to its deletion (b, c)."""
    limits = [time for time in (last_condition_time(pod), deletion_time(pod)) if time is not None]
    return [min(limits)] if limits else []


def _cap(pod: Pod, now: datetime) -> datetime:
    """A lost node's pod ends when it was evicted or told to end, though its last container may have started later (d)."""
    limits = [
        now,
        condition_time(pod, "DisruptionTarget", "True"),
        parse_time(pod["metadata"].get("deletionTimestamp")),
    ]
    return min(time for time in limits if time is not None)


def _vouched(pod: Pod, cap: datetime, nodes: Mapping[str, Node]) -> datetime:
    """The last time that anybody vouched for the pod: now, or when it was cut off, evicted or told to end.

    A pod that is not ready is cut off, or has a container that is not: so it is where its node was Ready all the time.
    """
    unready = condition_time(pod, "Ready", "False")
    if unready is None:
        return cap
    node = nodes.get(pod["spec"].get("nodeName", ""))
    answers = node is not None and node.ready and node.since is not None and node.since <= unready
    return cap if answers else min(cap, unready)

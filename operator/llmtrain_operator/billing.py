"""The billed interval of one pod: a pure function of the pod object, its node and the time.

An independent program must come to the same microdollar, so this file is the rule and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from llmtrain.cost.money import amount_micro_usd, billed_seconds
from llmtrain_operator.pricing import Price

Pod = Mapping[str, Any]
NODE_LOST_AFTER = timedelta(minutes=5)


@dataclass(frozen=True)
class Node:
    """What billing needs of a node."""

    ready: bool
    since: datetime | None


@dataclass(frozen=True)
class Interval:
    """When a pod's bill starts and ends; `start` None: never scheduled, `final` False: still running."""

    start: datetime | None
    end: datetime
    final: bool

    @property
    def seconds(self) -> int:
        """Whole seconds."""
        return 0 if self.start is None else max(0, int((self.end - self.start).total_seconds()))


@dataclass(frozen=True)
class Bill:
    """What a pod owes."""

    price: Price
    seconds: int
    billed: int
    accelerator_seconds: int
    micro_usd: int


@lru_cache(maxsize=16384)
def parse_time(text: str | None) -> datetime | None:
    """A time of the API, to the second."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC) if text else None


def format_time(time: datetime) -> str:
    """A time as the API writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def interval(pod: Pod, nodes: Mapping[str, Node], now: datetime) -> Interval:
    """Start and end of the billed interval."""
    start = condition_time(pod, "PodScheduled", status="True")
    end = _end(pod, nodes, now)
    return Interval(start, end or now, end is not None)


def bill(pod: Pod, price: Price, accelerators: int, nodes: Mapping[str, Node], now: datetime) -> Bill:
    """What a pod of this price and so many accelerators owes at `now`."""
    seconds = interval(pod, nodes, now).seconds
    billed = billed_seconds(seconds, price.incrementSeconds, price.minimumSeconds)
    return Bill(price, seconds, billed, billed * accelerators, amount_micro_usd(billed, price.microUsdPerHour))


def _end(pod: Pod, nodes: Mapping[str, Node], now: datetime) -> datetime | None:
    phase = pod.get("status", {}).get("phase")
    deleted = parse_time(pod["metadata"].get("deletionTimestamp"))
    over = phase in ("Succeeded", "Failed")
    statuses = container_statuses(pod)
    running = any(s.get("state", {}).get("running") for s in statuses)
    finished = [time for s in statuses for time in _finish_times(s)]
    if (over or deleted) and not running and finished:
        return max(finished)
    if running:
        return _lost_node_end(pod, nodes, deleted, now)
    if deleted:
        return deletion_time(pod) if _never_starts(pod, nodes, now) else None
    return last_condition_time(pod) if over else None


def deletion_time(pod: Pod) -> datetime | None:
    """When the deletion was asked for; the API adds the grace period to what it stores.

    With a grace of nothing left, when that was asked for: by the kubelet that is done with the pod.
    """
    deleted = parse_time(pod["metadata"].get("deletionTimestamp"))
    return deleted - timedelta(seconds=_grace(pod)) if deleted else None


def _grace(pod: Pod) -> int:
    return int(pod["metadata"].get("deletionGracePeriodSeconds") or 0)


def _never_starts(pod: Pod, nodes: Mapping[str, Node], now: datetime) -> bool:
    """Nobody will start a container of this deleted pod any more.

    A kubelet that has just been given the pod may start one after the deletion was asked for; it says that it is done
    by shortening the grace period to nothing, which also sets the deletion's time to then, though the pod may have been
    reported as failed before. Settling before that would lose what the container, or the wait for its kubelet, costs.
    """
    return not pod["spec"].get("nodeName") or _grace(pod) == 0 or node_is_lost(pod, nodes, now)


def container_statuses(pod: Pod) -> list[Mapping[str, Any]]:
    """Statuses of all containers, init containers too."""
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _finish_times(status: Mapping[str, Any]) -> list[datetime]:
    texts = [status.get(key, {}).get("terminated", {}).get("finishedAt") for key in ("state", "lastState")]
    return [time for time in map(parse_time, texts) if time is not None]


def _lost_node_end(pod: Pod, nodes: Mapping[str, Node], deleted: datetime | None, now: datetime) -> datetime | None:
    """Rule (d): the kubelet will never report this container's end."""
    if deleted is None or not node_is_lost(pod, nodes, now):
        return None
    return condition_time(pod, "DisruptionTarget") or deleted


def node_is_lost(pod: Pod, nodes: Mapping[str, Node], now: datetime) -> bool:
    """The pod's node is gone, or has been other than Ready for more than five minutes."""
    node = nodes.get(pod["spec"].get("nodeName", ""))
    if node is None:
        return True
    return not node.ready and node.since is not None and now - node.since > NODE_LOST_AFTER


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

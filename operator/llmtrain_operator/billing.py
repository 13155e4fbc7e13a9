"""The billed interval of one pod: a pure function of the pod object, its node and the time.

An independent program must come to the same microdollar, so this file is the rule and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from llmtrain.cost.money import amount_micro_usd, billed_seconds
from llmtrain_operator.clocks import believed, last_condition_time, reported
from llmtrain_operator.clocks import condition_time as condition_time
from llmtrain_operator.clocks import parse_time as parse_time
from llmtrain_operator.containers import Pod as Pod
from llmtrain_operator.containers import (
    container_statuses,
    failed_init,
    is_running,
    stage_status,
    told,
)
from llmtrain_operator.pricing import Price

NODE_LOST_AFTER = timedelta(minutes=5)
COLLECTED_AFTER = timedelta(seconds=60)
"""By then the pods of a node that is gone were collected, if anybody collects them: kube-controller-manager looks every 20 s, and
waits 40 s whether the node comes back."""


@dataclass(frozen=True)
class Node:
    """What billing needs of a node."""

    ready: bool
    since: datetime | None
    gone: bool = False
    """There is no such node any more."""


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


def format_time(time: datetime) -> str:
    """A time as the API writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def interval(pod: Pod, nodes: Mapping[str, Node], now: datetime) -> Interval:
    """Start and end of the billed interval."""
    start = condition_time(pod, "PodScheduled", status="True")
    if is_rejected(pod):
        return Interval(start, start or now, final=True)
    end = _end(pod, nodes, now)
    return Interval(start, end or now, end is not None)


def is_rejected(pod: Pod) -> bool:
    """Its kubelet would not have it: no container was ever made, and nothing is billed, whatever befalls its object later.

    A pod that its deadline ended while it waited for its image had been taken.
    """
    status = pod.get("status", {})
    reason = status.get("reason")
    refused = status.get("phase") == "Failed" and bool(reason) and reason != "DeadlineExceeded"
    return refused and not container_statuses(pod)


def bill(pod: Pod, price: Price, accelerators: int, nodes: Mapping[str, Node], now: datetime) -> Bill:
    """What a pod of this price and so many accelerators owes at `now`."""
    seconds = interval(pod, nodes, now).seconds
    billed = billed_seconds(seconds, price.incrementSeconds, price.minimumSeconds)
    return Bill(price, seconds, billed, billed * accelerators, amount_micro_usd(billed, price.microUsdPerHour))


def _end(pod: Pod, nodes: Mapping[str, Node], now: datetime) -> datetime | None:
    deleted = parse_time(pod["metadata"].get("deletionTimestamp"))
    over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    statuses = container_statuses(pod)
    if any(is_running(status) for status in statuses):
        return _lost_node_end(pod, nodes, deleted, now) or (_untold_end(pod, deleted, now) if over else None)
    if not (over or deleted):
        return None
    finished = max((time for status in statuses for time in _times(status, "finishedAt")), default=None)
    if finished and is_told(pod):
        return believed(pod, finished, now)
    if deleted:
        end = deletion_time(pod) if _never_starts(pod, nodes, now) else None
    else:
        end = last_condition_time(pod)
        end = believed(pod, end, now) if end else None
    # The stage never started, but another container may have been at work, and its end may be told late.
    return max(end, believed(pod, finished, now)) if end and finished else end


def deletion_time(pod: Pod) -> datetime | None:
    """When the deletion was asked for; the API adds the grace period to what it stores.

    With a grace of nothing left, when that was asked for: by the kubelet that is done with the pod.
    """
    deleted = parse_time(pod["metadata"].get("deletionTimestamp"))
    return deleted - added(_grace(pod)) if deleted else None


def added(seconds: int) -> timedelta:
    """What the apiserver adds to a time for so many seconds: nanoseconds in 64 bits, which turn around after 292 years."""
    nanoseconds = (seconds * 10**9 + 2**63) % 2**64 - 2**63
    return timedelta(seconds=nanoseconds // 10**9)


def _grace(pod: Pod) -> int:
    return int(pod["metadata"].get("deletionGracePeriodSeconds") or 0)


def _never_starts(pod: Pod, nodes: Mapping[str, Node], now: datetime) -> bool:
    """Nobody will start a container of this deleted pod any more.

    A kubelet that has just been given the pod may start one after the deletion was asked for; it says that it is done
    by shortening the grace period to nothing, which also sets the deletion's time to then, though the pod may have been
    reported as failed before. Settling before that would lose what the container, or the wait for its kubelet, costs.
    Whoever collects the pods of a lost node does the same in the kubelet's place; where nobody does, the grace is over once.
    """
    deleted = parse_time(pod["metadata"].get("deletionTimestamp"))
    if deleted is None or not pod["spec"].get("nodeName") or _grace(pod) == 0:
        return True
    return node_is_lost(pod, nodes, now) and _is_left(pod, nodes, deleted, now)


def is_told(pod: Pod) -> bool:
    """When its containers ended is all that there is to know: its stage has ended, or can never start."""
    return failed_init(pod) is not None or any(_times(stage_status(pod), "finishedAt"))


def _times(status: Mapping[str, object], key: str) -> list[datetime]:
    texts = [run.get(key) for run in told(status)]
    return [time for time in map(parse_time, texts) if time is not None]


def _lost_node_end(pod: Pod, nodes: Mapping[str, Node], deleted: datetime | None, now: datetime) -> datetime | None:
    """Rule (d): the kubelet will never report this container's end; it has told of others'.

    Whoever collects the pods of nodes that are gone marks them as disrupted and asks for their deletion at once, which takes the
    grace out of its time. That is waited for: the object cannot go before, and would tell another end than the one billed. So
    might the kubelet of a pod that was evicted and has its grace yet: its node may have been deleted alone.
    """
    if deleted is None or not node_is_lost(pod, nodes, now):
        return None
    disrupted = condition_time(pod, "DisruptionTarget", "True")
    collected = disrupted is not None and (_grace(pod) == 0 or not _is_gone(pod, nodes))
    if not collected and not _is_left(pod, nodes, deleted, now):
        return None
    end = disrupted or _due(pod, deleted, now)
    if end > now:
        return None
    finished = [time for status in container_statuses(pod) for time in _times(status, "finishedAt")]
    return max([end, *(believed(pod, time, now) for time in finished)])


def _is_left(pod: Pod, nodes: Mapping[str, Node], deleted: datetime, now: datetime) -> bool:
    """The grace of a pod on a lost node is over, and nobody collects it: of a node that is there but silent nobody does so soon."""
    patience = COLLECTED_AFTER if _is_gone(pod, nodes) else timedelta(0)
    return now - (deleted - _beyond(pod)) >= patience


def _due(pod: Pod, deleted: datetime, now: datetime) -> datetime:
    """When a deleted pod should have been gone. Whoever deletes it may ask for a grace of years; what exceeds the pod's own counts
    until now at most.
    """
    return min(deleted, max(now, deleted - _beyond(pod)))


def _beyond(pod: Pod) -> timedelta:
    """How much longer than the pod's own the grace is that its deletion was asked for with."""
    return added(max(0, _grace(pod) - int(pod["spec"].get("terminationGracePeriodSeconds") or _grace(pod))))


def _untold_end(pod: Pod, deleted: datetime | None, now: datetime) -> datetime | None:
    """Rule (e): the pod is over and its kubelet is done with it, and nobody tells when its last container ended.

    What the apiserver was last told is waited for as long as for a node.
    """
    if deleted is None or _grace(pod) > 0:
        return None
    last = max(deleted, reported(pod, now) or deleted)
    return last if now - last > NODE_LOST_AFTER else None


def node_is_lost(pod: Pod, nodes: Mapping[str, Node], now: datetime) -> bool:
    """The pod's node is gone, or has been other than Ready for more than five minutes."""
    if _is_gone(pod, nodes):
        return True
    node = nodes[pod["spec"]["nodeName"]]
    return not node.ready and node.since is not None and now - node.since > NODE_LOST_AFTER


def _is_gone(pod: Pod, nodes: Mapping[str, Node]) -> bool:
    node = nodes.get(pod["spec"].get("nodeName", ""))
    return node is None or node.gone

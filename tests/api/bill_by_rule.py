"""Bills pods by the rule of the billed interval: JSON on standard input, sums by job on standard output.

A program of its own: it imports nothing of the operator. Input: one list a pod, of all versions that a watch saw, in
their order. A pod is billed by the first version that has an end by the rule: what happens to the object afterwards,
such as the deletion of a pod that had failed, is no part of its bill. All pods have ended.
"""

import json
import sys
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any


def time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


Pod = dict[str, Any]
SKEW = timedelta(seconds=30)


def ends_of(containers: list[Pod]) -> list[datetime]:
    """All that containers tell of their ends."""
    states = [state for one in containers for state in (one.get("state", {}), one.get("lastState", {}))]
    return [
        time(state["terminated"]["finishedAt"]) for state in states if (state.get("terminated") or {}).get("finishedAt")
    ]


def begins_of(pod: Pod) -> list[datetime]:
    """When its node took the pod and started what."""
    status = pod["status"]
    states = [
        state for one in containers_of(pod) for key in ("state", "lastState") for state in one.get(key, {}).values()
    ]
    return [time(text) for text in (status.get("startTime"), *(state.get("startedAt") for state in states)) if text]


def containers_of(pod: Pod) -> list[Pod]:
    return [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]


def scheduled_at(pod: Pod) -> datetime | None:
    times = [c["lastTransitionTime"] for c in pod["status"].get("conditions", [])
             if c["type"] == "PodScheduled" and c["status"] == "True"]  # fmt: skip
    return time(times[0]) if times else None


def by_a_good_clock(pod: Pod, end: datetime) -> datetime:
    """An end as the node tells it; where the node's clock is more than 30 s off, the apiserver's time of the last report."""
    scheduled, told = scheduled_at(pod), [*begins_of(pod), end]
    reports = [time(entry["time"]) for entry in pod["metadata"].get("managedFields", [])
               if entry.get("subresource") == "status"]  # fmt: skip
    if scheduled and (min(told) < scheduled - SKEW or max(told) > max(reports) + SKEW):
        return max(reports)
    return end


def rejected(pod: Pod) -> bool:
    """By its kubelet, before anything was made of it."""
    status = pod["status"]
    return bool(status["phase"] == "Failed" and status.get("reason", "DeadlineExceeded") not in ("", "DeadlineExceeded")
                and not containers_of(pod))  # fmt: skip


def end_of(versions: list[Pod]) -> datetime:
    for pod in versions:
        end = end_by_containers(pod)
        if end is not None:
            return end
    # (d): a container shows running for ever, its node is lost.
    deleted = next(pod for pod in versions if "deletionTimestamp" in pod["metadata"])
    disrupted = [c for c in deleted["status"]["conditions"] if (c["type"], c["status"]) == ("DisruptionTarget", "True")]
    lost = time(disrupted[0]["lastTransitionTime"] if disrupted else deleted["metadata"]["deletionTimestamp"])
    return max([lost, *(by_a_good_clock(deleted, end) for end in ends_of(containers_of(deleted)))])


def end_by_containers(pod: Pod) -> datetime | None:
    """(a), (b), (c), in this order."""
    meta, status = pod["metadata"], pod["status"]
    over, deleted = status["phase"] in ("Succeeded", "Failed"), "deletionTimestamp" in meta
    if any("running" in one.get("state", {}) for one in containers_of(pod)) or not (over or deleted):
        return None
    finished = ends_of(containers_of(pod))
    always = {one["name"] for one in pod["spec"].get("initContainers", []) if one.get("restartPolicy") == "Always"}
    failed = [one for one in status.get("initContainerStatuses", []) if one["name"] not in always
              and one["state"].get("terminated", {}).get("exitCode")]  # fmt: skip
    stage = [one for one in status.get("containerStatuses", []) if one["name"] == "stage"]
    if finished and (failed or ends_of(stage)):
        return by_a_good_clock(pod, max(finished))
    held = pod["spec"].get("nodeName") and meta.get("deletionGracePeriodSeconds")
    # (b) counts once the kubelet has let go, with a grace of nothing and the time of that: until then it may start a
    # container, or has still to clean up behind one that never started.
    if deleted and held:
        return None
    if deleted:
        end = time(meta["deletionTimestamp"]) - timedelta(seconds=meta["deletionGracePeriodSeconds"])
    else:
        end = by_a_good_clock(pod, max(time(c["lastTransitionTime"]) for c in status["conditions"]))
    # What ran beside a stage that never started may have run for longer.
    return max([end, *(by_a_good_clock(pod, each) for each in finished)])


def main() -> None:
    jobs: dict[str, dict[str, int]] = {}
    for versions in json.load(sys.stdin):
        pod = versions[-1]
        meta = pod["metadata"]
        price = json.loads(meta["annotations"]["llmtrain.dev/price"])
        scheduled = next((begin for one in versions if (begin := scheduled_at(one))), None)
        seconds = 0
        if scheduled and not any(rejected(one) for one in versions):
            seconds = max(0, int((end_of(versions) - scheduled).total_seconds()))
        step = price["incrementSeconds"]
        billed = max(price["minimumSeconds"], -(-seconds // step) * step) if seconds else 0
        job = jobs.setdefault(meta["labels"]["llmtrain.dev/job"], {"pods": 0, "seconds": 0, "billed": 0, "microUsd": 0})
        job["pods"] += 1
        job["seconds"] += seconds
        job["billed"] += billed
        job["microUsd"] += round(Fraction(billed * price["microUsdPerHour"], 3600))
    print(json.dumps(jobs))


if __name__ == "__main__":
    main()

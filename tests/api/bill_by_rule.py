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


def end_of(versions: list[dict[str, Any]]) -> datetime:
    for pod in versions:
        end = end_by_containers(pod)
        if end is not None:
            return end
    # (d): a container shows running for ever, its node is lost.
    deleted = next(pod for pod in versions if "deletionTimestamp" in pod["metadata"])
    disrupted = [c for c in deleted["status"]["conditions"] if c["type"] == "DisruptionTarget"]
    return time(disrupted[0]["lastTransitionTime"] if disrupted else deleted["metadata"]["deletionTimestamp"])


def end_by_containers(pod: dict[str, Any]) -> datetime | None:
    """(a), (b), (c), in this order."""
    meta, status = pod["metadata"], pod["status"]
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    states = [state for c in containers for state in (c.get("state", {}), c.get("lastState", {}))]
    conditions = status.get("conditions", [])
    over, deleted = status["phase"] in ("Succeeded", "Failed"), "deletionTimestamp" in meta
    running = any("running" in c.get("state", {}) for c in containers)
    ends = [(state.get("terminated") or {}).get("finishedAt") for state in states]
    finished = [time(end) for end in ends if end]
    if (over or deleted) and not running and finished:
        return max(finished)
    held = pod["spec"].get("nodeName") and meta.get("deletionGracePeriodSeconds")
    # (b) counts once the kubelet has let go, with a grace of nothing and the time of that: until then it may start a
    # container, or has still to clean up behind one that never started.
    if not running and deleted and not held:
        return time(meta["deletionTimestamp"]) - timedelta(seconds=meta["deletionGracePeriodSeconds"])
    if not running and over and not deleted:
        return max(time(c["lastTransitionTime"]) for c in conditions)
    return None


def main() -> None:
    jobs: dict[str, dict[str, int]] = {}
    for versions in json.load(sys.stdin):
        pod = versions[-1]
        meta = pod["metadata"]
        price = json.loads(meta["annotations"]["llmtrain.dev/price"])
        scheduled = [c for c in pod["status"].get("conditions", []) if c["type"] == "PodScheduled"
                     and c["status"] == "True"]  # fmt: skip
        seconds = 0
        if scheduled:
            seconds = max(0, int((end_of(versions) - time(scheduled[0]["lastTransitionTime"])).total_seconds()))
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

"""An independent meter: watches pods, keeps the last version of each, and bills them by its own few lines.

It shares no code with the operator. The rule is that of docs/cost-model.md, for nodes whose clocks are right: from
PodScheduled to the last finishedAt of any container, rounded and priced as the pod's annotation says, half to even.
"""

import json
import subprocess
import threading
import time
from datetime import datetime
from fractions import Fraction
from typing import Any

JOB = "llmtrain.dev/job"
LATEST_SECONDS = 60


class Recorder:
    def __init__(self, namespace: str) -> None:
        self.last: dict[str, dict[str, Any]] = {}
        self.together: dict[str, set[str]] = {}
        self._alive: dict[str, dict[str, Any]] = {}
        command = ["kubectl", "get", "pods", "-n", namespace, "-w", "--output-watch-events", "-o", "json"]
        self._watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        buffer = ""
        assert self._watch.stdout
        for line in self._watch.stdout:
            buffer += line
            if not line.rstrip().endswith("}"):
                continue
            try:
                event = json.loads(buffer)
            except ValueError:
                continue
            buffer = ""
            self._take(event["type"], event["object"])

    def _take(self, kind: str, pod: dict[str, Any]) -> None:
        uid, job = pod["metadata"]["uid"], pod["metadata"].get("labels", {}).get(JOB, "")
        if not job:
            return
        self.last[uid] = pod
        if kind == "DELETED":
            self._alive.pop(uid, None)
        else:
            self._alive[uid] = pod
        mine = [p for p in self._alive.values() if p["metadata"]["labels"].get(JOB) == job]
        clusters = {f"{p['metadata']['labels']['llmtrain.dev/stage']}-{p['metadata']['labels']['llmtrain.dev/attempt']}"
                    for p in mine}  # fmt: skip
        if len(clusters) > 1:
            self.together[job] = clusters

    def pods(self, job: str) -> list[dict[str, Any]]:
        return [pod for pod in list(self.last.values()) if pod["metadata"]["labels"].get(JOB) == job]

    def micro_usd(self, job: str) -> int:
        """Once it has heard of the end of each pod: on a busy machine its watch is seconds behind."""
        until = time.monotonic() + LATEST_SECONDS
        while (
            any(pod["metadata"]["uid"] in self._alive and not is_told(pod) for pod in self.pods(job))
            and time.monotonic() < until
        ):
            time.sleep(0.2)
        return sum(bill(pod) for pod in self.pods(job))

    def close(self) -> None:
        self._watch.terminate()
        self._watch.wait(10)
        self._thread.join(10)
        if self._watch.stdout:
            self._watch.stdout.close()


def is_told(pod: dict[str, Any]) -> bool:
    """When its stage ended is known."""
    own = [c for c in pod["status"].get("containerStatuses", []) if c["name"] == "stage"]
    return any(c["state"].get("terminated", {}).get("finishedAt") for c in own)


def span(pod: dict[str, Any]) -> tuple[datetime, datetime] | None:
    scheduled = [
        c for c in pod["status"].get("conditions", []) if c["type"] == "PodScheduled" and c["status"] == "True"
    ]
    if not scheduled:
        return None
    begin = datetime.fromisoformat(scheduled[0]["lastTransitionTime"])
    status = pod["status"]
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    if status.get("phase") == "Failed" and status.get("reason") not in (None, "DeadlineExceeded") and not containers:
        return begin, begin  # its kubelet rejected it
    ends = {c["name"]: datetime.fromisoformat(c["state"]["terminated"]["finishedAt"]) for c in containers
            if c["state"].get("terminated", {}).get("finishedAt")}  # fmt: skip
    if "stage" in ends:
        return begin, max(ends.values())
    deleted = datetime.fromisoformat(pod["metadata"]["deletionTimestamp"])
    grace = pod["metadata"].get("deletionGracePeriodSeconds", 0)
    gone = datetime.fromtimestamp(deleted.timestamp() - grace, deleted.tzinfo)
    return begin, max([gone, *ends.values()])


def bill(pod: dict[str, Any]) -> int:
    times = span(pod)
    return bill_between(pod, *times) if times else 0


def bill_between(pod: dict[str, Any], begin: datetime, end: datetime) -> int:
    price = json.loads(pod["metadata"]["annotations"]["llmtrain.dev/price"])
    seconds = int((end - begin).total_seconds())
    if seconds <= 0:
        return 0
    step = price["incrementSeconds"]
    billed = max(price["minimumSeconds"], (seconds + step - 1) // step * step)
    return round(Fraction(billed * price["microUsdPerHour"], 3600))

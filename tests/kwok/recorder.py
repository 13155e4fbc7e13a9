"""An independent meter over all namespaces: the last version of every pod that ever was.

It also plays what KWOK cannot: a head works only once its workers are there.
"""

import asyncio
import contextlib
from collections import Counter
from datetime import datetime
from typing import Any

from tests.e2e.recorder import bill, bill_between
from tests.kwok.plane import Admin, follow
from tests.kwok.stages import JOINED

WORKERS = {"Preflight": 0, "Curation": 1, "Training": 2, "Evaluation": 1}
"""Of the job in runs.py."""
SETTLE = "llmtrain.dev/settle"


class PodRecorder:
    """Follows one watch of all pods; call `close` when done."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self.last: dict[str, dict[str, Any]] = {}
        self.alive: set[str] = set()
        self.together: set[str] = set()
        self.lost_nodes: set[str] = set()
        self._joined: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Read what is there, then follow."""
        self._task = asyncio.create_task(self._follow())
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Stop following. A recorder that has stopped by itself has missed something: that is raised."""
        self._task.cancel()
        (result,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(result, Exception):
            raise result

    async def _follow(self) -> None:
        listed = await self._admin.get("/api/v1/pods")
        for pod in listed["items"]:
            self._take("ADDED", pod)
        version = listed["metadata"]["resourceVersion"]
        async for event in follow(self._admin, "/api/v1/pods", version):
            self._take(event["type"], event["object"])

    def _take(self, kind: str, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        held = SETTLE in pod["metadata"].get("finalizers", [])
        if held or uid not in self.last or not self._abandoned(self.last[uid]):
            self.last[uid] = pod
        self.alive.add(uid)
        if kind == "DELETED":
            self.alive.discard(uid)
        namespace = pod["metadata"]["namespace"]
        mine = [self.last[one] for one in self.alive if self.last[one]["metadata"]["namespace"] == namespace]
        clusters = {_cluster(one) for one in mine}
        self._join([one for one in mine if _cluster(one) == _cluster(pod)])
        jobs = [cluster[0] for cluster in clusters]
        self.together |= {f"{namespace}/{job}" for job in jobs if jobs.count(job) > 1}

    def _join(self, cluster: list[dict[str, Any]]) -> None:
        """Tell the head of a cluster that its workers are there, once they run."""
        running = [pod for pod in cluster if pod["status"].get("phase") == "Running"]
        heads = [pod for pod in running if _label(pod, "role") == "head"]
        for head in heads:
            stage, uid = _label(head, "stage"), head["metadata"]["uid"]
            if uid not in self._joined and len(running) - len(heads) >= WORKERS.get(stage, 0):
                self._joined[uid] = asyncio.create_task(self._annotate(head["metadata"]))

    async def _annotate(self, head: dict[str, Any]) -> None:
        path = f"/api/v1/namespaces/{head['namespace']}/pods/{head['name']}"
        with contextlib.suppress(AssertionError):  # deleted meanwhile
            await self._admin.patch(path, {"metadata": {"annotations": {JOINED: "yes"}}})

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        """Every pod that ever was in a namespace."""
        return [pod for pod in self.last.values() if pod["metadata"]["namespace"] == namespace]

    def micro_usd(self, namespace: str) -> int:
        """What all of them cost."""
        return sum(self.by_kind(namespace).values())

    def by_kind(self, namespace: str) -> Counter[tuple[str, str]]:
        """The same by stage and role."""
        sums: Counter[tuple[str, str]] = Counter()
        for pod in self.pods(namespace):
            labels = pod["metadata"]["labels"]
            kind = labels["llmtrain.dev/stage"], labels["llmtrain.dev/role"]
            sums[kind] += lost_bill(pod) if self._lost(pod) else bill(pod)
        return sums

    def _lost(self, pod: dict[str, Any]) -> bool:
        """Deleted with a container that runs, on a node that is gone: nobody will ever say when it ended."""
        told = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
        return self._abandoned(pod) and any("running" in one["state"] for one in told)

    def _abandoned(self, pod: dict[str, Any]) -> bool:
        """Deleted, on a node that is gone.

        Such a pod is billed by when its deletion was asked for, which moves when somebody shortens its grace period to
        let the object go. The version that counts is therefore the last that was held for its bill.
        """
        return pod["spec"].get("nodeName") in self.lost_nodes and "deletionTimestamp" in pod["metadata"]


def lost_bill(pod: dict[str, Any]) -> int:
    """Up to when somebody said that it was disrupted, else to its deletion."""
    times = {one["type"]: one["lastTransitionTime"] for one in pod["status"]["conditions"] if one["status"] == "True"}
    told = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
    ends = [one["state"]["terminated"]["finishedAt"] for one in told if "terminated" in one["state"]]
    # Its other containers may have told of a later end.
    end = max(map(datetime.fromisoformat, [times.get("DisruptionTarget", pod["metadata"]["deletionTimestamp"]), *ends]))
    return bill_between(pod, datetime.fromisoformat(times["PodScheduled"]), end)


def _cluster(pod: dict[str, Any]) -> tuple[str, str, str]:
    return _label(pod, "job"), _label(pod, "stage"), _label(pod, "attempt")


def _label(pod: dict[str, Any], name: str) -> str:
    """One of the operator's; a tenant may have taken it off."""
    return str((pod["metadata"].get("labels") or {}).get(f"llmtrain.dev/{name}", ""))

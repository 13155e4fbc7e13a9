"""What befalls pods of the real apiserver: a kubelet, a node controller and users that do what they like."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from llmtrain_operator.client import ApiError, KubernetesCluster

PODS, NODES = "api/v1/pods", "api/v1/nodes"
Pod = dict[str, Any]
KINDS = ("pending", "pulled", "succeeded", "failed", "deleted", "force-deleted", "evicted", "rejected", "node gone",
         "node silent", "clock behind", "clock ahead", "sidecar", "native", "swept")  # fmt: skip
PROXY = "a-proxy"


def stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


class Scheduling:
    """The client with a scheduler behind it: pods are placed as they are created, but for those that find no room."""

    def __init__(self, cluster: KubernetesCluster, rng: random.Random) -> None:
        self._cluster, self._rng = cluster, rng

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    async def create(self, resource: str, namespace: str, body: Pod) -> Pod:
        if resource == PODS:
            kind = self._rng.choice(KINDS)
            node = {} if kind == "pending" else {"nodeName": node_of(kind, body["metadata"]["name"])}
            labels = body["metadata"]["labels"] | {"kind": kind.replace(" ", "-")}
            body = {
                **body,
                "metadata": body["metadata"] | {"labels": labels},
                "spec": inject(body["spec"] | node, kind),
            }
        return await self._cluster.create(resource, namespace, body)


def inject(spec: Pod, kind: str) -> Pod:
    """As a mesh's webhook does."""
    allowed = spec["containers"][0]["securityContext"]
    proxy = {"name": PROXY, "image": "proxy", "securityContext": allowed}
    if kind == "sidecar":
        return {**spec, "containers": [*spec["containers"], proxy]}
    return {**spec, "initContainers": [proxy | {"restartPolicy": "Always"}]} if kind == "native" else spec


def node_of(kind: str, name: str) -> str:
    return {"node gone": "exact-gone", "node silent": "exact-silent"}.get(kind, f"exact-{len(name) % 3}")


class Kubelet:
    def __init__(self, cluster: KubernetesCluster, namespace: str, rng: random.Random) -> None:
        self.cluster, self.namespace, self.rng = cluster, namespace, rng
        self.gone_nodes: set[str] = set()

    async def nodes(self) -> None:
        for name in ("exact-0", "exact-1", "exact-2", "exact-gone", "exact-silent"):
            await self.cluster.create(NODES, "", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
            await self.set_ready(name, "True", timedelta(hours=5))

    async def set_ready(self, name: str, value: str, ago: timedelta) -> None:
        node = await self.cluster.get(NODES, "", name)
        assert node is not None
        since = stamp(datetime.now(UTC) - ago)
        condition = {"type": "Ready", "status": value, "lastTransitionTime": since, "lastHeartbeatTime": since,
                     "reason": "Test", "message": ""}  # fmt: skip
        await self.cluster.replace(NODES, "", name, {**node, "status": {"conditions": [condition]}}, "status")

    async def pods(self) -> list[Pod]:
        return (await self.cluster.find(PODS, self.namespace, "llmtrain.dev/job")).items

    async def set_status(self, pod: Pod, change: Callable[[Pod], Pod]) -> None:
        """Report; read again where somebody wrote meanwhile. A pod that is gone needs no report."""
        name = pod["metadata"]["name"]
        for _ in range(10):
            found = await self.cluster.get(PODS, self.namespace, name)
            if found is None or found["metadata"]["uid"] != pod["metadata"]["uid"]:
                return
            try:
                await self.cluster.replace(PODS, self.namespace, name, {**found, "status": change(found)}, "status")
            except ApiError as error:
                if error.code not in (404, 409):
                    raise
            else:
                return
        raise AssertionError(f"{name} kept changing")

    async def delete(self, pod: Pod, grace: int | None) -> None:
        meta = pod["metadata"]
        await self.cluster.delete(PODS, self.namespace, meta["name"], meta["uid"], grace)

    async def place(self, pod: Pod) -> None:
        """Scheduled up to two hours ago; some are still pulling, the others run."""
        kind = kind_of(pod)
        if kind == "pending":
            return
        scheduled = datetime.now(UTC) - timedelta(seconds=self.rng.randint(900, 7200))
        started = scheduled + timedelta(seconds=self.rng.randint(0, 300))
        await self.set_status(pod, lambda _: pulling(scheduled))
        if kind not in ("pulled", "rejected", "swept"):
            await self.set_status(pod, lambda _: with_proxy(running(scheduled, started), kind, scheduled))

    async def happen(self, pod: Pod) -> None:
        """What befalls it."""
        kind = kind_of(pod)
        if kind in ("pending", "pulled", "deleted", "node gone", "node silent"):
            await self.delete(pod, None)
        elif kind == "force-deleted":
            await self.delete(pod, 0)
        elif kind == "rejected":
            await self.set_status(pod, lambda seen: {**seen["status"], "phase": "Failed", "reason": "OutOfcpu"})
        elif kind == "swept":
            # Rejected, and evicted a while later, before anybody has looked.
            gone = condition("DisruptionTarget", "True", datetime.now(UTC))
            await self.set_status(pod, lambda _: {"phase": "Failed", "reason": "NodeAffinity", "conditions": [gone]})
            await self.delete(pod, 0)
        elif kind in ("sidecar", "native"):
            offset = self.rng.random()
            await self.set_status(pod, lambda seen: stage_ended(seen, offset))
        else:
            await self.end(pod)

    async def end(self, pod: Pod) -> None:
        """Its container ends, at a time of the node's clock."""
        kind, offset = kind_of(pod), self.rng.random()
        await self.set_status(
            pod, lambda seen: all_ended(seen) if kind in ("sidecar", "native") else ended(seen, kind, offset)
        )

    async def obey(self) -> None:
        """What a kubelet does about pods that are to go; lost nodes do nothing."""
        await together(
            self._obey(pod)
            for pod in await self.pods()
            if "deletionTimestamp" in pod["metadata"] and not kind_of(pod).startswith("node ")
        )

    async def _obey(self, pod: Pod) -> None:
        if any("running" in one["state"] for one in told_of(pod["status"])):
            await self.end(pod)
        await self.delete(pod, 0)


async def together(calls: Any) -> None:
    """All at once, sixteen at a time."""
    gate = asyncio.Semaphore(16)

    async def one(call: Awaitable[None]) -> None:
        async with gate:
            await call

    await asyncio.gather(*(one(call) for call in calls))


def kind_of(pod: Pod) -> str:
    return str(pod["metadata"]["labels"]["kind"]).replace("node-", "node ").replace("clock-", "clock ")


def condition(kind: str, value: str, since: datetime) -> Pod:
    return {"type": kind, "status": value, "lastTransitionTime": stamp(since)}


def pulling(scheduled: datetime) -> Pod:
    conditions = [condition("PodScheduled", "True", scheduled), condition("Ready", "False", scheduled)]
    return {"phase": "Pending", "startTime": stamp(scheduled), "conditions": conditions}


def container(state: Pod) -> Pod:
    return {"name": "stage", "image": "jobs", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def running(scheduled: datetime, started: datetime) -> Pod:
    conditions = [condition("PodScheduled", "True", scheduled), condition("Ready", "True", started)]
    state = {"running": {"startedAt": stamp(started)}}
    return {"phase": "Running", "startTime": stamp(scheduled), "conditions": conditions,
            "containerStatuses": [container(state)]}  # fmt: skip


def told_of(status: Pod) -> list[Pod]:
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def with_proxy(status: Pod, kind: str, started: datetime) -> Pod:
    """The proxy runs; kubelets sort containers by name, so it comes first."""
    proxy = container({"running": {"startedAt": stamp(started)}}) | {"name": PROXY, "image": "proxy"}
    if kind == "sidecar":
        return {**status, "containerStatuses": [proxy, *status["containerStatuses"]]}
    return {**status, "initContainerStatuses": [proxy]} if kind == "native" else status


def stage_ended(seen: Pod, offset: float) -> Pod:
    """The stage ends, the proxy beside it runs on."""
    status: Pod = seen["status"]
    for one in told_of(status):
        if one["name"] != PROXY and "running" in one["state"]:
            started = datetime.fromisoformat(one["state"]["running"]["startedAt"])
            finish = stamp(started + (datetime.now(UTC) - started) * offset)
            one["state"] = {"terminated": {"exitCode": 0, "startedAt": stamp(started), "finishedAt": finish}}
    return status


def all_ended(seen: Pod) -> Pod:
    """The pod is told to go: what runs is killed."""
    status: Pod = seen["status"]
    for one in told_of(status):
        if "running" in one["state"]:
            finish = {"exitCode": 137, "finishedAt": stamp(datetime.now(UTC)), **one["state"]["running"]}
            one["state"] = {"terminated": finish}
    return {**status, "phase": "Failed"}


def ended(seen: Pod, kind: str, offset: float) -> Pod:
    status = seen["status"]
    first = status.get("containerStatuses", [{"state": {}}])[0]["state"]
    if "terminated" in first:
        return dict(status)
    started = datetime.fromisoformat(first["running"]["startedAt"])
    finish = started + (datetime.now(UTC) - started) * offset
    # A node's clock that is an hour behind reports ends before the pod was scheduled.
    finish += {"clock behind": timedelta(hours=-1), "clock ahead": timedelta(hours=1)}.get(kind, timedelta(0))
    code = 0 if kind == "succeeded" else 1
    state = {"terminated": {"exitCode": code, "startedAt": stamp(started), "finishedAt": stamp(finish)}}
    conditions = [c for c in status["conditions"] if c["type"] == "PodScheduled"]
    conditions.append(condition("Ready", "False", finish))
    if kind == "evicted":
        conditions.append(condition("DisruptionTarget", "True", datetime.now(UTC)))
    return {"phase": "Failed" if code else "Succeeded", "startTime": status["startTime"], "conditions": conditions,
            "reason": "Evicted" if kind == "evicted" else "", "containerStatuses": [container(state)]}  # fmt: skip

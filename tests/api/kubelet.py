"""A kubelet and scheduler of a few lines: binds pods, runs them, ends heads well, confirms deletions."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from llmtrain_operator.client import ApiError, KubernetesCluster

from llmtrain.api.stageconfig import Result

PODS = "api/v1/pods"
NODE = "node-1"
ARTIFACTS = {"Curation": "c1", "Training": "t1", "Evaluation": "e1"}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ready_node() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}


class Kubelet:
    """Looks at one namespace twice a second; pods of others than the operator are left as they are.

    `cut_off` is the end of the names of pods whose node seems not to answer: their container is ready, they are not.
    """

    def __init__(self, cluster: KubernetesCluster, namespace: str, cut_off: str = "nobody") -> None:
        self.cluster, self.namespace, self.cut_off = cluster, namespace, cut_off
        self.created: list[str] = []

    async def run(self) -> None:
        while True:
            for pod in (await self.cluster.find(PODS, self.namespace, "app.kubernetes.io/managed-by")).items:
                with suppress(ApiError):
                    await self.look(pod)
            await asyncio.sleep(0.5)

    async def look(self, pod: dict[str, Any]) -> None:
        name, meta, status = pod["metadata"]["name"], pod["metadata"], pod.get("status", {})
        if name not in self.created:
            self.created.append(name)
        if not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            await self.cluster._send("POST", f"/api/v1/namespaces/{self.namespace}/pods/{name}/binding", binding)
        elif "deletionTimestamp" in meta:
            if status.get("phase") == "Running":
                await self.set_status(pod, self.ended(pod, 75, ""))
            await self.cluster.delete(PODS, self.namespace, name, meta["uid"], 0)
        elif status.get("phase") == "Pending":
            status = self.running()
            if name.endswith(self.cut_off):
                status["conditions"].append({"type": "Ready", "status": "False", "lastTransitionTime": now()})
                status["containerStatuses"][0]["ready"] = True
            await self.set_status(pod, status)
        elif status.get("phase") == "Running" and name.endswith("-head"):
            stage = meta["labels"]["llmtrain.dev/stage"]
            result = Result(outcome="Succeeded", artifact=ARTIFACTS.get(stage, ""), working_seconds=1)
            await self.set_status(pod, self.ended(pod, 0, json.dumps(result.to_dict())))

    async def set_status(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        body = {**pod, "status": {**pod.get("status", {}), **status}}
        await self.cluster.replace(PODS, self.namespace, pod["metadata"]["name"], body, "status")

    def running(self) -> dict[str, Any]:
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
        container = self.container({"running": {"startedAt": now()}})
        return {"phase": "Running", "conditions": [scheduled], "containerStatuses": [container]}

    def ended(self, pod: dict[str, Any], code: int, message: str) -> dict[str, Any]:
        words = {"exitCode": code, "finishedAt": now(), "startedAt": now(), "message": message, "reason": "Completed"}
        container = self.container({"terminated": words})
        return {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]}

    def container(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"name": "stage", "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": state}

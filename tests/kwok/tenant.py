"""A tenant who may do all that an `edit` role allows in namespaces of his own, and does it at random.

Every write is one request; what it would change may be gone already. Foreign finalizers that he sets are his own affair:
`leave` takes them off, as he would have to himself before his namespace could go.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.kwok.plane import JOBS, Admin
from tests.kwok.proxy import Fault
from tests.kwok.runs import job

PROGRESS_ADDRESS = "127.0.0.12"
"""Where the tenant's heads answer; see `stages.POD_ADDRESS`."""
PROGRESS_PORT = 8090
SETTLE = "llmtrain.dev/settle"
FOREIGN = "example.com/mine"
CASCADES = ("Background", "Foreground", "Orphan")
KEYS = ("job", "job-uid", "stage", "attempt", "role", "index", "incarnation")
TEXTS = ("", "x", "-1", "0x10", "9" * 63, "Training", "head", "a" * 63, "1e300", "None")
WORDS: tuple[Any, ...] = (
    None, True, -1, 10**30, 1e300, float("nan"), float("inf"), "", "x" * 5000, "\x1b[2J\u202e[red]", [], {}, [[[[]]]],
    {"Preflight": "x" * 400, "Nowhere": "y"}, {"a" * 300: "1"}, "Succeeded", "2026-13-45T99:99:99Z",
)  # fmt: skip
FIELDS = (
    "outcome", "failureClass", "reason", "message", "artifact", "checkpoint", "existing", "scores", "workingSeconds",
    "redoneSeconds", "checkpointSeconds", "done", "total", "unit", "loss", "tokensPerSecond", "mfu", "detail", "group",
    "saveSeconds", "evaluatedTokens",
)  # fmt: skip
ACTS = {
    "make_job": 5, "suspend": 3, "label_job": 2, "label_pod": 6, "annotate_pod": 6, "finalize_pod": 2, "disown_pod": 2,
    "last_words": 6, "foreign_pod": 3, "delete_pod": 4, "delete_job": 4, "delete_object": 2, "old_ledger": 1, "budget": 2,
    "delete_namespace": 1,
}  # fmt: skip


def hostile_words(dice: random.Random) -> str:
    """What a container may leave as its termination message, or answer at /progress."""
    kind = dice.randrange(6)
    if kind == 0:
        return dice.choice(["", "{", "[" * 2000, "null", "7", '"words"', "\x00\x1b]0;x\x07", "{" + '"a":' * 500])
    drawn = {name: dice.choice(WORDS) for name in dice.sample(FIELDS, dice.randint(1, len(FIELDS)))}
    if kind == 1:
        drawn |= {"outcome": "Succeeded", "artifact": "t1", "workingSeconds": 1}
    return json.dumps(drawn)


class Progress:
    """The tenant's heads: they answer /progress with anything, or send whoever asks elsewhere."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.asked = self.followed = 0

    async def __aenter__(self) -> "Progress":
        application = web.Application()
        application.router.add_get("/progress", self._answer)
        application.router.add_get("/elsewhere", self._elsewhere)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, PROGRESS_ADDRESS, PROGRESS_PORT).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self._dice.random() < 0.2:
            return web.Response(
                status=302, headers={"Location": f"http://{PROGRESS_ADDRESS}:{PROGRESS_PORT}/elsewhere"}
            )
        return web.Response(text=hostile_words(self._dice), content_type="application/json")

    async def _elsewhere(self, request: web.Request) -> web.StreamResponse:
        self.followed += 1
        return web.json_response({})


class Injector(Fault):
    """A webhook that adds containers and resources to the pods of some namespaces, as meshes and device plug-ins do."""

    def __init__(self, dice: random.Random, prefix: str) -> None:
        self._dice, self._prefix = dice, prefix
        self.injected: Counter[str] = Counter()

    def body(self, request: web.Request, body: bytes) -> bytes:
        """See Fault."""
        parts = request.path.split("/")
        mine = request.method == "POST" and parts[-1] == "pods" and parts[-2].startswith(self._prefix)
        if not mine or self._dice.random() < 0.5:
            return body
        pod = json.loads(body)
        self._inject(pod["spec"])
        return json.dumps(pod).encode()

    def _inject(self, spec: dict[str, Any]) -> None:
        kind = self._dice.choice(("container", "init", "native sidecar", "resource"))
        self.injected[kind] += 1
        proxy = {"name": "istio-proxy", "image": "proxy:1", "resources": {"requests": {"cpu": "100m"}}}
        if kind == "container":
            spec["containers"].insert(0, proxy)
        elif kind == "init":
            spec["initContainers"] = [proxy | {"name": "istio-init"}]
        elif kind == "native sidecar":
            spec["initContainers"] = [proxy | {"restartPolicy": "Always"}]
        else:
            resources = spec["containers"][0]["resources"]
            for part in ("requests", "limits"):
                resources.setdefault(part, {})["example.com/rdma"] = "1k"


@dataclass
class Tenant:
    """Writes at random in namespaces whose names begin with `prefix`."""

    admin: Admin
    dice: random.Random
    prefix: str
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    namespaces: list[str] = field(default_factory=list)
    """Those that he has not deleted."""
    deleted: list[str] = field(default_factory=list)
    _numbers: int = 0

    async def arrive(self) -> None:
        """A new namespace."""
        name = f"{self.prefix}{len(self.namespaces) + len(self.deleted):03d}"
        await self.admin.namespace(name)
        self.namespaces.append(name)

    async def write(self) -> None:
        """One write, or none where there is nothing to write to."""
        kind = self.dice.choices(list(ACTS), list(ACTS.values()))[0]
        namespace = self.dice.choice(self.namespaces)
        try:
            if await getattr(self, f"_{kind}")(namespace):
                self.done[kind] += 1
        except AssertionError:  # the apiserver refused: gone meanwhile, or not allowed to anybody
            self.refused[kind] += 1

    async def leave(self) -> None:
        """Delete what is his, and take off the finalizers that he has set himself."""
        for namespace in list(self.namespaces):
            await self._delete_namespace(namespace, replace=False)
        for namespace in self.deleted:
            for pod in await self._items(f"/api/v1/namespaces/{namespace}/pods"):
                others = [name for name in pod["metadata"].get("finalizers", []) if name != FOREIGN]
                if others != pod["metadata"].get("finalizers", []):
                    await self._quietly(self.admin.patch(self._path(pod, "pods"), {"metadata": {"finalizers": others}}))

    async def _items(self, path: str) -> list[dict[str, Any]]:
        found = await self.admin.get(path)
        return list(found["items"]) if found else []

    def _path(self, item: Mapping[str, Any], kind: str) -> str:
        meta = item["metadata"]
        return f"/api/v1/namespaces/{meta['namespace']}/{kind}/{meta['name']}"

    async def _quietly(self, request: Any) -> None:
        try:
            await request
        except AssertionError:
            return

    async def _pod(self, namespace: str) -> dict[str, Any] | None:
        pods = await self._items(f"/api/v1/namespaces/{namespace}/pods")
        return self.dice.choice(pods) if pods else None

    async def _job(self, namespace: str) -> str | None:
        jobs = await self._items(f"{JOBS}/namespaces/{namespace}/llmtrainingjobs")
        if not jobs:
            return None
        return f"{JOBS}/namespaces/{namespace}/llmtrainingjobs/{self.dice.choice(jobs)['metadata']['name']}"

    async def _patch_pod(self, namespace: str, body: Any, subresource: str = "") -> bool:
        pod = await self._pod(namespace)
        if pod is None:
            return False
        await self.admin.patch(self._path(pod, "pods") + subresource, body)
        return True

    async def _make_job(self, namespace: str) -> bool:
        self._numbers += 1
        body = job(f"j{self._numbers}", pod={"annotations": {"test.example/pod-address": PROGRESS_ADDRESS}})
        await self.admin.post(f"{JOBS}/namespaces/{namespace}/llmtrainingjobs", body)
        return True

    async def _suspend(self, namespace: str) -> bool:
        path = await self._job(namespace)
        if path is not None:
            await self.admin.patch(path, {"spec": {"suspend": self.dice.random() < 0.5}})
        return path is not None

    async def _label_job(self, namespace: str) -> bool:
        path = await self._job(namespace)
        key = f"llmtrain.dev/{self.dice.choice(KEYS)}"
        if path is not None:
            await self.admin.patch(path, {"metadata": {"labels": {key: self.dice.choice(TEXTS)}}})
        return path is not None

    async def _label_pod(self, namespace: str) -> bool:
        key = f"llmtrain.dev/{self.dice.choice(KEYS)}"
        return await self._patch_pod(namespace, {"metadata": {"labels": {key: self.dice.choice((*TEXTS, None))}}})

    async def _annotate_pod(self, namespace: str) -> bool:
        price = {"microUsdPerHour": self.dice.choice(WORDS), "plan": self.dice.choice(WORDS), "incrementSeconds": 0}
        text = self.dice.choice([json.dumps(price), "", "[" * 1000, '{"microUsdPerHour": -5000000000000}', "x" * 9000])
        key = self.dice.choice(["llmtrain.dev/price", "llmtrain.dev/power"])
        return await self._patch_pod(namespace, {"metadata": {"annotations": {key: text}}})

    async def _finalize_pod(self, namespace: str) -> bool:
        finalizers = self.dice.choice([None, [FOREIGN], [SETTLE, FOREIGN]])
        return await self._patch_pod(namespace, {"metadata": {"finalizers": finalizers}})

    async def _disown_pod(self, namespace: str) -> bool:
        return await self._patch_pod(namespace, {"metadata": {"ownerReferences": None}})

    async def _last_words(self, namespace: str) -> bool:
        """His container ends: with any code, any words, and whatever else it says of itself."""
        pod = await self._pod(namespace)
        if pod is None or pod.get("status", {}).get("phase") != "Running":
            return False
        code = self.dice.choice([0, 0, 1, 64, 69, 70, 73, 75, 77, 78, 137, 255])
        statuses = pod["status"].get("containerStatuses", [])
        for status in statuses:
            begun = status["state"].get("running", {}).get("startedAt")
            if status["name"] == "stage" and begun:
                ended = {"exitCode": code, "startedAt": begun, "finishedAt": begun, "reason": "Error"}
                status["state"] = {"terminated": ended | {"message": hostile_words(self.dice)}}
        told: dict[str, Any] = {"containerStatuses": statuses}
        if len(statuses) == 1:
            # With its last container a pod's native sidecars end, and it is over.
            told |= {"phase": "Failed" if code else "Succeeded", "initContainerStatuses": _ended_beside(pod)}
        await self.admin.patch(self._path(pod, "pods") + "/status", {"status": told})
        return True

    async def _foreign_pod(self, namespace: str) -> bool:
        """A pod of his own that looks like one of the operator's."""
        self._numbers += 1
        labels = {f"llmtrain.dev/{key}": self.dice.choice(TEXTS) for key in self.dice.sample(KEYS, 4)}
        meta = {
            "name": f"foreign-{self._numbers}",
            "labels": labels | {"llmtrain.dev/job": self.dice.choice(["", "j1"])},
        }
        meta["finalizers"] = self.dice.choice([[], [SETTLE]])
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "0.5", "memory": "1.1Gi"}}}
        await self.admin.post(
            f"/api/v1/namespaces/{namespace}/pods", {"metadata": meta, "spec": {"containers": [container]}}
        )
        return True

    async def _delete_pod(self, namespace: str) -> bool:
        pod = await self._pod(namespace)
        if pod is not None:
            await self.admin.delete(self._path(pod, "pods"), grace=self.dice.choice([None, 0, 1, 600]))
        return pod is not None

    async def _delete_job(self, namespace: str) -> bool:
        path = await self._job(namespace)
        if path is not None:
            async with self.admin.session.delete(f"{path}?propagationPolicy={self.dice.choice(CASCADES)}") as answer:
                assert answer.status < 300, await answer.text()
        return path is not None

    async def _delete_object(self, namespace: str) -> bool:
        """What an attempt's pods mount, and find each other by."""
        kind = self.dice.choice(["configmaps", "secrets", "services"])
        items = [i for i in await self._items(f"/api/v1/namespaces/{namespace}/{kind}") if "labels" in i["metadata"]]
        if items:
            await self.admin.delete(self._path(self.dice.choice(items), kind))
        return bool(items)

    async def _old_ledger(self, namespace: str) -> bool:
        """Where the ledger once lay."""
        text = self.dice.choice(["[" * 9000, "7", '{"totals": [{}], "settledJobs": []}', '{"totals": []}', "not JSON"])
        meta = {"name": "llmtrain-ledger"}
        await self.admin.post(
            f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": meta, "data": {"ledger.json": text}}
        )
        return True

    async def _budget(self, namespace: str) -> bool:
        self._numbers += 1
        spec: dict[str, Any] = {
            "limitUsd": self.dice.choice(["0.01", "1000"]),
            "onBreach": self.dice.choice(["Suspend", "Warn", "Fail"]),
            "jobSelector": {"matchLabels": {}},
        }
        body = {
            "apiVersion": "llmtrain.dev/v1alpha1",
            "kind": "TrainingBudget",
            "metadata": {"name": f"b{self._numbers}"},
        }
        await self.admin.post(f"{JOBS}/namespaces/{namespace}/trainingbudgets", body | {"spec": spec})
        return True

    async def _delete_namespace(self, namespace: str, replace: bool = True) -> bool:
        """In the middle of whatever goes on there; he takes another one."""
        await self.admin.delete(f"/api/v1/namespaces/{namespace}")
        self.namespaces.remove(namespace)
        self.deleted.append(namespace)
        if replace:
            await self.arrive()
        return True


def _ended_beside(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Init containers of a pod whose own containers have ended."""
    found: list[dict[str, Any]] = pod["status"].get("initContainerStatuses", [])
    for status in found:
        begun = status["state"].get("running", {}).get("startedAt")
        if begun:
            status["state"] = {
                "terminated": {"exitCode": 0, "startedAt": begun, "finishedAt": begun, "reason": "Completed"}
            }
    return found


async def terminating(admin: Admin, names: list[str]) -> list[str]:
    """Of these namespaces, those that are still there."""
    found = await asyncio.gather(*(admin.get(f"/api/v1/namespaces/{name}") for name in names))
    return [name for name, namespace in zip(names, found, strict=True) if namespace is not None]

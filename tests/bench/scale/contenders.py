"""Who makes pods: our operator, KubeRay, and a bare asynchronous client that does nothing else."""

import asyncio
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.bench.scale.observer import METADATA
from tests.kwok.plane import JOBS, ROOT, Admin, Plane, follow, until
from tests.kwok.runs import job
from tests.ports import free_ports

TICKS = os.sysconf("SC_CLK_TCK")
SIDE_BY_SIDE = 50
"""Requests that the bare client has under way, as many as the operator may."""


@dataclass(frozen=True)
class Shape:
    """So many clusters of so many pods each, heads included."""

    clusters: int
    pods: int

    def __str__(self) -> str:
        return f"{self.clusters} x {self.pods}"

    @property
    def total(self) -> int:
        return self.clusters * self.pods


def space(name: str, shape: Shape) -> str:
    """Namespace of a contender's clusters."""
    return f"{''.join(filter(str.isalnum, name.lower()))}-{shape.clusters}"


class Contender(Protocol):
    """Takes clusters up and down in a namespace. What it asks for is asked for all clusters at once."""

    name: str
    process: "Process"

    async def prepare(self, namespace: str, shape: Shape) -> None:
        """Create the clusters' objects; their pods follow."""

    async def suspend(self, namespace: str, shape: Shape, suspend: bool) -> None:
        """Ask for no pod, or for all of them again."""

    async def delete(self, namespace: str, shape: Shape) -> None:
        """Delete the clusters' objects."""


async def each(shape: Shape, act: Callable[[int], Awaitable[Any]]) -> None:
    """For every cluster, side by side."""
    gate = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(number: int) -> None:
        async with gate:
            await act(number)

    await asyncio.gather(*(one(number) for number in range(shape.clusters)))


class Process:
    """A program with the administrator's kubeconfig."""

    def __init__(self, plane: Plane, command: list[str], name: str, **environment: str) -> None:
        self._command, self.log = command, plane.state / f"{name}.log"
        self._environment = os.environ | {"KUBECONFIG": plane.kubeconfig} | environment

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def cpu_seconds(self) -> float:
        """Time that it has had of any core, of /proc."""
        fields = Path(f"/proc/{self.running.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self) -> None:
        """End it."""
        self.running.terminate()
        self.running.wait(30)


class Clusters(ABC):
    """A contender's objects by URL: one a cluster, `spec.suspend` of which takes its pods down."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    @abstractmethod
    def url(self, namespace: str) -> str:
        """Of the namespace's objects."""

    @abstractmethod
    def body(self, name: str, workers: int) -> dict[str, Any]:
        """An object."""

    async def prepare(self, namespace: str, shape: Shape) -> None:
        """See Contender."""
        await each(shape, lambda i: self._admin.post(self.url(namespace), self.body(f"c{i}", shape.pods - 1)))

    async def suspend(self, namespace: str, shape: Shape, suspend: bool) -> None:
        """See Contender."""
        body = {"spec": {"suspend": suspend}}
        await each(shape, lambda i: self._admin.patch(f"{self.url(namespace)}/c{i}", body))

    async def delete(self, namespace: str, shape: Shape) -> None:
        """See Contender."""
        await each(shape, lambda i: self._admin.delete(f"{self.url(namespace)}/c{i}"))


class Ours(Clusters):
    """Our operator. A cluster is the curation cluster of a job."""

    name = "llmtrain"

    def __init__(self, plane: Plane, admin: Admin) -> None:
        super().__init__(admin)
        self.metrics_port, health = free_ports(2)
        self.process = Process(
            plane,
            [sys.executable, "-m", "llmtrain_operator.main"],
            "operator",
            LLMTRAIN_METRICS_PORT=str(self.metrics_port),
            LLMTRAIN_HEALTH_PORT=str(health),
            LLMTRAIN_JOBS_IMAGE="llmtrain.local/jobs:test",
        )

    def url(self, namespace: str) -> str:
        """See Clusters."""
        return jobs_in(namespace)

    def body(self, name: str, workers: int) -> dict[str, Any]:
        """See Clusters."""
        return curating(name, workers)

    async def prepare(self, namespace: str, shape: Shape) -> None:
        """See Contender. Preflight, which cannot be left out, is over before anything is measured."""
        await super().prepare(namespace, shape)

        async def curation() -> bool:
            items = (await self._admin.get(jobs_in(namespace)))["items"]
            return [item.get("status", {}).get("stage") for item in items].count("Curation") == shape.clusters

        await until(f"preflights over in {namespace}", curation, 900, every=1)


def jobs_in(namespace: str) -> str:
    """URL of a namespace's jobs."""
    return f"{JOBS}/namespaces/{namespace}/llmtrainingjobs"


def curating(name: str, workers: int) -> dict[str, Any]:
    """A job whose curation has so many workers and, on this plane, never ends."""
    body = job(name)
    body["spec"]["curation"]["cluster"]["workers"]["replicas"] = workers
    return body


class KubeRay(Clusters):
    """KubeRay's operator; `delete` leaves the pods to the garbage collector."""

    def __init__(self, plane: Plane, admin: Admin, concurrency: int, shapes: Sequence[Shape]) -> None:
        super().__init__(admin)
        self.name = f"KubeRay, concurrency {concurrency}"
        metrics, health = free_ports(2)
        command = [
            str(plane.binaries / "kuberay"),
            f"--metrics-addr=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{health}",
            "--enable-leader-election=false",
            f"--reconcile-concurrency={concurrency}",
            f"--watch-namespace={','.join(space(self.name, shape) for shape in shapes)}",
        ]
        self.process = Process(plane, command, f"kuberay-{concurrency}")

    def url(self, namespace: str) -> str:
        """See Clusters."""
        return f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"

    def body(self, name: str, workers: int) -> dict[str, Any]:
        """See Clusters."""
        return ray_cluster(name, workers)


def ray_cluster(name: str, workers: int) -> dict[str, Any]:
    """A RayCluster of the same size with the same requests."""
    amounts = {"cpu": "1", "memory": "4Gi"}
    container = {"name": "ray", "image": "rayproject/ray:2.52.0", "resources": {"requests": amounts, "limits": amounts}}
    template = {"spec": {"containers": [container]}}
    group = {"groupName": "workers", "replicas": workers, "minReplicas": workers, "maxReplicas": workers}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name},
        "spec": {
            "rayVersion": "2.52.0",
            "headGroupSpec": {"rayStartParams": {}, "template": template},
            "workerGroupSpecs": [group | {"rayStartParams": {}, "template": template}],
        },
    }


async def bare(admin: Admin, namespace: str, pods: int, like: dict[str, Any]) -> None:
    """The same pods by a client that does nothing but create them, as many requests under way as the operator may have."""
    gate = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(number: int) -> None:
        async with gate:
            body = {**like, "metadata": {**like["metadata"], "name": f"bare-{number}", "namespace": namespace}}
            await admin.post(f"/api/v1/namespaces/{namespace}/pods", body)

    await asyncio.gather(*(one(number) for number in range(pods)))


async def bare_end(admin: Admin, namespace: str) -> None:
    """Take them down with an exact bill: delete each, and take its finalizer off once its kubelet is done with it.

    The least that anybody does who wants to see the end of each pod, by a client that works out no bill and writes none.
    """
    url = f"/api/v1/namespaces/{namespace}/pods"
    found = await admin.get(url)
    names, gate = {pod["metadata"]["name"] for pod in found["items"]}, asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(act: Awaitable[Any]) -> None:
        async with gate:
            await act

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(one(admin.delete(f"{url}/{name}")))
        async for event in follow(admin, url, found["metadata"]["resourceVersion"], METADATA):
            meta = event["object"]["metadata"]
            if meta.get("deletionGracePeriodSeconds") == 0 and meta["name"] in names:
                names.remove(meta["name"])
                group.create_task(one(admin.patch(f"{url}/{meta['name']}", {"metadata": {"finalizers": None}})))
            if not names:
                break


def template_of(pod: dict[str, Any]) -> dict[str, Any]:
    """What somebody sent to create this pod, near enough; nobody holds its like."""
    kept = {key: pod["metadata"][key] for key in ("labels", "annotations", "finalizers")}
    spec = {key: value for key, value in pod["spec"].items() if key not in ("nodeName",)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": spec}

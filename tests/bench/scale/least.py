"""The least that our API asks of whoever makes a cluster's pods: a client of a few lines, without an operator.

The user's `suspend: false`, one write of the job's status, the objects that pods mount and find each other by, and the
pods. What an operator takes beyond this is its own; what this takes beyond a bare client is the price of the API.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.bench.scale.contenders import SIDE_BY_SIDE, Shape, jobs_in, template_of
from tests.kwok.plane import Admin

Body = dict[str, Any]
KINDS = ("services", "configmaps", "secrets")
OF_A_SERVICE = ("ports", "selector", "publishNotReadyAddresses", "clusterIP")


@dataclass(frozen=True)
class Sample:
    """What an operator made of one job, as it would be sent again."""

    job: Body
    pod: Body
    objects: Mapping[str, Body]

    @staticmethod
    async def of(admin: Admin, namespace: str) -> "Sample":
        """Of the namespace's first job, whose pods are there."""
        job = (await admin.get(f"{jobs_in(namespace)}?limit=1"))["items"][0]
        chosen = f"?labelSelector=llmtrain.dev/job={job['metadata']['name']}"
        found = {kind: await admin.get(f"/api/v1/namespaces/{namespace}/{kind}{chosen}") for kind in ("pods", *KINDS)}
        return Sample(job, template_of(found["pods"]["items"][0]), {kind: _anew(found[kind]) for kind in KINDS})


def _anew(found: Body) -> Body:
    first = found["items"][0]
    body = {key: first[key] for key in ("data", "type") if key in first}
    if "spec" in first:
        body["spec"] = {key: value for key, value in first["spec"].items() if key in OF_A_SERVICE}
    return body | {"metadata": {"labels": first["metadata"]["labels"]}}


@dataclass
class Least:
    """Jobs like the sample in a namespace of their own, suspended and without an operator."""

    admin: Admin
    namespace: str
    shape: Shape
    sample: Sample
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SIDE_BY_SIDE))
    _rounds: int = 0

    async def prepare(self) -> None:
        """The jobs are there, with a status of the sample's size."""
        await self.admin.namespace(self.namespace)
        await _all(self._prepare(number) for number in range(self.shape.clusters))

    async def up(self) -> None:
        """All pods of all clusters are created; names of an earlier round's objects are not used again."""
        self._rounds += 1
        await _all(self._cluster(number) for number in range(self.shape.clusters))

    async def _prepare(self, number: int) -> None:
        body = {key: self.sample.job[key] for key in ("apiVersion", "kind")}
        spec = self.sample.job["spec"] | {"suspend": True}
        made = await self._one(self.admin.post(self._jobs, body | {"metadata": {"name": f"c{number}"}, "spec": spec}))
        await self._write_status(made | {"status": self.sample.job["status"]})

    async def _cluster(self, number: int) -> None:
        change = {"spec": {"suspend": self._rounds % 2 == 0}}
        job = await self._one(self.admin.patch(f"{self._jobs}/c{number}", change))
        job["status"]["observedGeneration"] = job["metadata"]["generation"]
        await self._write_status(job)
        name = f"c{number}-{self._rounds}"
        await _all(self._post(kind, body, name) for kind, body in self.sample.objects.items())
        await _all(self._post("pods", self.sample.pod, f"{name}-{index}") for index in range(self.shape.pods))

    @property
    def _jobs(self) -> str:
        return jobs_in(self.namespace)

    async def _post(self, kind: str, body: Body, name: str) -> None:
        named = {**body, "metadata": body["metadata"] | {"name": name, "namespace": self.namespace}}
        await self._one(self.admin.post(f"/api/v1/namespaces/{self.namespace}/{kind}", named))

    async def _write_status(self, job: Body) -> None:
        await self._one(self.admin.put(f"{self._jobs}/{job['metadata']['name']}/status", job))

    async def _one(self, request: Awaitable[Body]) -> Body:
        async with self._gate:
            return await request


async def _all(acts: Iterable[Awaitable[Any]]) -> None:
    await asyncio.gather(*acts)

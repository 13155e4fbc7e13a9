"""An hour of arrivals, suspensions, deletions, killed pods, drained and lost nodes and killed operators, drawn at random.

Whole namespaces are deleted with what runs in them, sidecars are injected into half of the pods, and a webhook that is
asked about every pod goes down for a while. SOAK_SECONDS in the environment sets the length. The end must be as after
quiet days: each namespace's ledger, also that of one that is gone, is what an independent recorder makes of the pods,
nothing of ours is left, no job ever had two clusters, and memory is flat.
"""

import asyncio
import contextlib
import json
import os
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.kwok.operators import Operator
from tests.kwok.plane import JOBS, follow, node, until
from tests.kwok.proxy import Proxy
from tests.kwok.runs import World, booked_by_kind, job, left
from tests.kwok.tenant import Injector, terminating

SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
PAUSE = 1.5
MOST_JOBS = 8
SAMPLED_AFTER = 45.0
"""Seconds after its start from which an operator's memory is sampled."""
GROWTH = 1.15
ACTS = {"arrive": 6, "suspend": 4, "resume": 6, "delete": 2, "kill pod": 3, "drain node": 1, "lose node": 1,
        "kill operator": 1, "delete namespace": 1, "webhook goes down": 0.5}  # fmt: skip
DOWN_SECONDS = 20.0
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@dataclass
class Soak:
    """A namespace at a time, and whoever plagues it."""

    world: World
    operator: Operator
    namespace: str
    dice: random.Random
    deleted: list[str] = field(default_factory=list)
    hooks: set[asyncio.Task[None]] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Every job by its uid, as it was last seen."""
    started: float = 0.0

    @property
    def url(self) -> str:
        return f"{JOBS}/namespaces/{self.namespace}/llmtrainingjobs"

    async def jobs(self) -> list[str]:
        return [item["metadata"]["name"] for item in (await self.world.admin.get(self.url))["items"]]

    async def act(self) -> None:
        """One thing happens; what it would happen to may be gone already."""
        kind = self.dice.choices(list(ACTS), list(ACTS.values()))[0]
        with contextlib.suppress(AssertionError):  # an object that has gone meanwhile
            await getattr(self, kind.replace(" ", "_"))()
            self.done[kind] += 1

    async def arrive(self) -> None:
        if len(await self.jobs()) < MOST_JOBS:
            self.names.append(f"j{len(self.names)}")
            await self.world.admin.post(self.url, job(self.names[-1]))

    async def suspend(self) -> None:
        await self._set_suspend(True)

    async def resume(self) -> None:
        await self._set_suspend(False)

    async def _set_suspend(self, value: bool) -> None:
        for name in self.dice.sample(found := await self.jobs(), min(1, len(found))):
            await self.world.admin.patch(f"{self.url}/{name}", {"spec": {"suspend": value}})

    async def delete(self) -> None:
        for name in self.dice.sample(found := await self.jobs(), min(1, len(found))):
            await self.world.admin.delete(f"{self.url}/{name}")

    async def kill_pod(self) -> None:
        pods = await self._pods()
        for pod in self.dice.sample(pods, min(1, len(pods))):
            await self._kill(pod)

    async def drain_node(self) -> None:
        """All pods of one node go at once."""
        for name in await self._used_node():
            await asyncio.gather(*(self._kill(p) for p in await self._pods() if p["spec"].get("nodeName") == name))

    async def lose_node(self) -> None:
        """A machine is gone for good; the collector of pods finds its pods, and another machine comes in its place."""
        for name in await self._used_node():
            self.world.recorder.lost_nodes.add(name)
            await self.world.admin.delete(f"/api/v1/nodes/{name}")
            new = f"spare-{next(self.world.plane.numbers):04d}"
            await self.world.admin.post("/api/v1/nodes", node(new))
            await self.world.admin.patch(f"/api/v1/nodes/{new}", {"spec": {"taints": None}})

    async def _used_node(self) -> list[str]:
        nodes = sorted({pod["spec"].get("nodeName", "") for pod in await self._pods()} - {""})
        return self.dice.sample(nodes, min(1, len(nodes)))

    async def _pods(self) -> list[dict[str, dict[str, str]]]:
        found: list[dict[str, dict[str, str]]] = (
            await self.world.admin.get(f"/api/v1/namespaces/{self.namespace}/pods")
        )["items"]
        return found

    async def _kill(self, pod: dict[str, dict[str, str]]) -> None:
        await self.world.admin.delete(f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}", grace=1)

    async def delete_namespace(self) -> None:
        """With all that runs in it; whoever comes next comes to another."""
        await self.world.admin.delete(f"/api/v1/namespaces/{self.namespace}")
        self.deleted.append(self.namespace)
        self.namespace = self.world.namespace("soak")
        await self.world.admin.namespace(self.namespace)

    async def webhook_goes_down(self) -> None:
        """No pod of the namespace can be created for a while: nobody answers where the webhook should be."""
        name = f"down-{next(self.world.plane.numbers):04d}"
        await self.world.admin.post(WEBHOOKS, unreachable_webhook(name, self.namespace))
        self.hooks.add(asyncio.create_task(self._bring_back(name)))

    async def _bring_back(self, name: str) -> None:
        await asyncio.sleep(DOWN_SECONDS)
        await self.world.admin.delete(f"{WEBHOOKS}/{name}")

    async def kill_operator(self) -> None:
        await self.operator.kill()
        self.started = time.monotonic()

    def sample(self) -> None:
        """Memory of an operator that has been up for a while, MB."""
        if self.operator.process.returncode is None and time.monotonic() - self.started > SAMPLED_AFTER:
            pages = int(Path(f"/proc/{self.operator.process.pid}/statm").read_text().split()[1])
            self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    async def follow_jobs(self) -> None:
        """Keep every job's last version: what is wrong in the end is read from it."""
        async for event in follow(self.world.admin, f"{JOBS}/llmtrainingjobs", "0"):
            self.last[event["object"]["metadata"]["uid"]] = event["object"]

    def evidence(self, namespace: str) -> list[str]:
        """Each pod and each job of a namespace, one JSON text a line."""
        found = [*self.world.recorder.pods(namespace), *self.last.values()]
        for one in found:
            one["metadata"].pop("managedFields", None)
        return [json.dumps(one) for one in found if one["metadata"]["namespace"] == namespace] + [
            f"nodes lost: {sorted(self.world.recorder.lost_nodes)}"
        ]

    async def end(self) -> None:
        """Every job goes, and its pods with it."""

        async def gone() -> bool:
            for name in await self.jobs():
                await self.world.admin.delete(f"{self.url}/{name}")
            return not await self.jobs() and not await self._pods()

        await asyncio.gather(*self.hooks)
        await until("the end of all jobs", gone, 300, every=2)

        async def namespaces_gone() -> bool:
            return not await terminating(self.world.admin, self.deleted)

        await until("the end of deleted namespaces", namespaces_gone, 120, every=2)
        await asyncio.sleep(2)


def unreachable_webhook(name: str, namespace: str) -> dict[str, Any]:
    """A webhook that must be asked before a pod of the namespace is created, at an address where nobody listens."""
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    hook = {
        "name": "pods.example.com",
        "clientConfig": {"url": "https://127.0.0.1:9/pods"},
        "rules": [rule],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return kind | {"metadata": {"name": name}, "webhooks": [hook]}


@pytest.mark.timeout(SECONDS + 1200)
@pytest.mark.usefixtures("controllers")
async def test_whatever_happens_the_bill_is_right_and_nothing_is_left(world: World) -> None:
    namespace = world.namespace("soak")
    await world.admin.namespace(namespace)
    async with Proxy(world.plane, Injector(random.Random(2), "soak-")) as proxy:
        operator = Operator(world.plane.state / "operators", f"http://127.0.0.1:{proxy.port}")
        await operator.start()
        soak = Soak(world, operator, namespace, random.Random(int(os.environ.get("SOAK_SEED", "1"))))
        following = asyncio.create_task(soak.follow_jobs())
        soak.started = end = time.monotonic()
        end += SECONDS
        try:
            while time.monotonic() < end:
                await soak.act()
                soak.sample()
                await asyncio.sleep(PAUSE * soak.dice.random() * 2)
            await soak.end()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{operator.log()}") from error
        finally:
            await operator.close()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    spaces = [*soak.deleted, soak.namespace]
    recorded = {name: world.recorder.by_kind(name) for name in spaces}
    ledgers = {name: await booked_by_kind(world.admin, name) for name in spaces}
    pods = [pod for name in spaces for pod in world.recorder.pods(name)]
    micro_usd = sum(ledger.total() for ledger in ledgers.values())
    print(
        f"\n{SECONDS:.0f} s: {dict(soak.done)}; {len(spaces)} namespaces, {len(pods)} pods, {micro_usd / 1e6:.4f} USD, "
        f"{operator.starts} starts"
    )
    differing = [name for name in spaces if ledgers[name] != recorded[name]]
    for name in differing:
        print(f"{name}: booked {dict(ledgers[name])}, recorded {dict(recorded[name])}", *soak.evidence(name), sep="\n")
    assert differing == []
    assert micro_usd > 0
    assert await left(world.admin, soak.namespace) == []
    assert not {each for each in world.recorder.together if each.startswith("soak-")}
    third = len(soak.memory) // 3
    first, last = (statistics.median(part) for part in (soak.memory[:third], soak.memory[-third:]))
    print(f"memory: {first:.0f} MB in the first third, {last:.0f} MB in the last, {len(soak.memory)} samples")
    assert last < GROWTH * first

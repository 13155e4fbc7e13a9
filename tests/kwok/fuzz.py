"""A tenant's random writes in namespaces `a...`, jobs of somebody else in a namespace `b...`, one operator for both."""

import asyncio
import random
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.kwok.operators import Operator
from tests.kwok.plane import JOBS, until
from tests.kwok.proxy import Proxy
from tests.kwok.runs import World, job
from tests.kwok.tenant import Injector, Progress, Tenant, terminating

PAUSE = 0.3
"""Seconds between two writes, on average."""
SCRAPE_EVERY = 2.0
SILENT_SECONDS = 60.0
NAMESPACES = 3
"""That the tenant has at a time."""
ENDED = ("Succeeded", "Failed")
TELLING = ("Suspended", "Invalid", "Stopping", "Deleting")
"""States that are their own reason; the last two are followed until the job is gone."""
FAMILIES = ("llmtrain_job_cost_usd", "llmtrain_namespace_cost_usd", "llmtrain_operator_reconcile",
            "llmtrain_operator_rejected_input", "llmtrain_plan_usd_per_pod_hour", "llmtrain_operator_api_requests")  # fmt: skip


@dataclass
class Watcher:
    """Looks at the operator and the tenant's jobs while the tenant writes; `problems` is what it found."""

    world: World
    operator: Operator
    tenant: Tenant
    mine: str
    """The namespace of somebody else."""
    problems: list[str] = field(default_factory=list)
    scrapes: int = 0
    _quiet: dict[str, tuple[Any, float]] = field(default_factory=dict)
    _costs: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._scrape()
            await self._listen()
            await asyncio.sleep(SCRAPE_EVERY)

    async def _scrape(self) -> None:
        """Every scrape answers in full, and no counter of somebody else's job falls."""
        url = f"http://127.0.0.1:{self.operator.metrics_port}/metrics"
        try:
            text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=20).read().decode())
            families = {family.name: family for family in text_string_to_metric_families(text)}
        except (OSError, ValueError) as error:
            self.problems.append(f"scrape {self.scrapes}: {error}")
            return
        self.scrapes += 1
        missing = [name for name in FAMILIES if name not in families]
        self.problems += [f"scrape {self.scrapes} lacks {missing}"] if missing else []
        for sample in families["llmtrain_job_cost_usd"].samples if "llmtrain_job_cost_usd" in families else ():
            if sample.labels["namespace"] == self.mine:
                key = str(sorted(sample.labels.items()))
                if sample.value < self._costs.get(key, 0.0):
                    self.problems.append(f"{key} fell from {self._costs[key]} to {sample.value}")
                self._costs[key] = sample.value

    async def _listen(self) -> None:
        """No job of the tenant's is silent for a minute: it moves, is over, works, or says why not."""
        found = {}
        for namespace in [*self.tenant.namespaces, *self.tenant.deleted]:
            jobs = await self.world.admin.get(f"{JOBS}/namespaces/{namespace}/llmtrainingjobs")
            pods = await self.world.admin.get(f"/api/v1/namespaces/{namespace}/pods")
            for item in jobs["items"] if jobs else ():
                found[f"{namespace}/{item['metadata']['name']}"] = item, pods["items"] if pods else []
        now = time.monotonic()
        for name, (item, pods) in found.items():
            sign = _sign(item, pods)
            if sign is None or self._quiet.get(name, (None, 0.0))[0] != sign:
                self._quiet[name] = sign, now
            elif now - self._quiet[name][1] > SILENT_SECONDS:
                self.problems.append(f"job {name} has been silent for {now - self._quiet[name][1]:.0f} s: {sign}")
                self._quiet[name] = sign, now
        self._quiet = {name: quiet for name, quiet in self._quiet.items() if name in found}


def _sign(item: dict[str, Any], pods: list[dict[str, Any]]) -> Any:
    """What must not stay the same for a minute; None where the job is over, works, or says why it does not."""
    status = item.get("status") or {}
    state, waiting = status.get("state"), status.get("waiting")
    going = "deletionTimestamp" in item["metadata"]
    if not going and (state in ENDED or waiting or state in TELLING[:2]):
        return None
    told = [c for c in status.get("conditions", []) if c["type"] == "Progressing" and c["status"] == "False"]
    if told and told[0].get("message"):
        return None
    uid = item["metadata"]["uid"]
    mine = [pod for pod in pods if uid in [o["uid"] for o in pod["metadata"].get("ownerReferences", [])]]
    heads = [pod for pod in mine if pod["metadata"]["name"].endswith("-head") and _works(pod)]
    if state == "Running" and heads and not going:
        return None
    stages = [(stage.get("state"), stage.get("attempt")) for stage in status.get("stages", [])]
    return state, stages, going, sorted(pod["metadata"]["name"] for pod in mine)


def _works(pod: dict[str, Any]) -> bool:
    """Container `stage` runs and nobody has asked the pod to go."""
    running = [one["name"] for one in pod.get("status", {}).get("containerStatuses", []) if one["state"].get("running")]
    return "stage" in running and "deletionTimestamp" not in pod["metadata"]


@asynccontextmanager
async def watching(watcher: Watcher) -> AsyncIterator[None]:
    """The watcher beside what is done meanwhile; a bug of its own is raised."""
    task = asyncio.create_task(watcher.run())
    try:
        yield
    finally:
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, Exception):
        raise result


async def fuzz(world: World, writes: int, seed: int) -> list[str]:
    """So many writes; everything that should not have been."""
    dice = random.Random(seed)
    prefix, mine = f"a{seed}-", world.namespace("b")
    await world.admin.namespace(mine)
    injector = Injector(random.Random(seed + 1), prefix)
    async with Proxy(world.plane, injector) as proxy, Progress(random.Random(seed + 2)) as progress:
        operator = Operator(world.plane.state / f"fuzz-{seed}", f"http://127.0.0.1:{proxy.port}")
        tenant = Tenant(world.admin, dice, prefix)
        await operator.start()
        watcher = Watcher(world, operator, tenant, mine)
        try:
            await until("an answer of the operator", lambda: _answers(operator), 60)
            async with watching(watcher):
                begun = time.monotonic()
                await _writes(tenant, writes, world, mine)
                ended = time.monotonic()
                await _settle(world, tenant, watcher, mine)
            problems = [*watcher.problems, *await _bills(world, mine)]
            print("\n".join(problems), flush=True)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{watcher.problems}\n{operator.log()}") from error
        finally:
            await operator.close()
    print(
        f"\nseed {seed}: {sum(tenant.done.values())} writes {dict(tenant.done)}, refused {dict(tenant.refused)}, "
        f"injected {dict(injector.injected)}, /progress asked {progress.asked} times, {watcher.scrapes} scrapes, "
        f"{ended - begun:.0f} s of writes, {time.monotonic() - ended:.0f} s until all was settled"
    )
    problems += [f"the operator's process ended {operator.starts - 1} times"] if operator.starts > 1 else []
    problems += [f"a redirect of /progress was followed {progress.followed} times"] if progress.followed else []
    problems += ["no head was asked how it goes"] if not progress.asked else []
    return problems


async def _answers(operator: Operator) -> bool:
    try:
        url = f"http://127.0.0.1:{operator.metrics_port}/metrics"
        return bool(await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read()))
    except OSError:
        return False


async def _writes(tenant: Tenant, writes: int, world: World, mine: str) -> None:
    """The tenant writes; somebody else's jobs come one after the other meanwhile."""
    url = f"{JOBS}/namespaces/{mine}/llmtrainingjobs"
    for _ in range(NAMESPACES):
        await tenant.arrive()
        await tenant._make_job(tenant.namespaces[-1])
    made = 0
    while sum(tenant.done.values()) < writes:
        if sum(tenant.done.values()) * 3 >= made * writes and made < 3:
            made += 1
            await world.admin.post(url, job(f"other-{made}"))
        await tenant.write()
        await asyncio.sleep(PAUSE * 2 * tenant.dice.random())


async def _settle(world: World, tenant: Tenant, watcher: Watcher, mine: str) -> None:
    """Everybody's work ends: somebody else's by itself, the tenant's with his namespaces."""
    url = f"{JOBS}/namespaces/{mine}/llmtrainingjobs"

    async def ended() -> bool:
        jobs = (await world.admin.get(url))["items"]
        pods = (await world.admin.get(f"/api/v1/namespaces/{mine}/pods"))["items"]
        return not pods and all((item.get("status") or {}).get("state") == "Succeeded" for item in jobs)

    async def gone() -> bool:
        await tenant.leave()
        return not await terminating(world.admin, tenant.deleted)

    try:
        await until("the end of somebody else's jobs", ended, 150, every=1)
    except AssertionError:
        watcher.problems += await _stand(world, mine)
    try:
        await until("the end of the tenant's namespaces", gone, 120, every=2)
    except AssertionError:
        for name in await terminating(world.admin, tenant.deleted):
            watcher.problems += [f"namespace {name} stays", *await _stand(world, name)]
            print("\n".join(watcher.operator.lines(f"{name}/")[-60:]))


async def _stand(world: World, namespace: str) -> list[str]:
    """Where jobs and pods of a namespace stand, for people."""
    jobs = (await world.admin.get(f"{JOBS}/namespaces/{namespace}/llmtrainingjobs"))["items"]
    pods = (await world.admin.get(f"/api/v1/namespaces/{namespace}/pods"))["items"]
    found = []
    for item in jobs:
        status = item.get("status") or {}
        told = {c["type"]: (c["status"], c["reason"], c.get("message")) for c in status.get("conditions", [])}
        meta = {key: item["metadata"].get(key) for key in ("deletionTimestamp", "finalizers")}
        found.append(f"job {item['metadata']['name']}: {meta} {status.get('state')} {status.get('waiting')} {told}")
    for pod in pods:
        meta, status = pod["metadata"], pod["status"]
        said = [(one["name"], list(one["state"])) for one in status.get("containerStatuses", [])]
        keys = ("deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "labels", "ownerReferences")
        found.append(f"pod {meta['name']}: {status.get('phase')} {said} { {key: meta.get(key) for key in keys} }")
    return found


async def _bills(world: World, mine: str) -> list[str]:
    """Somebody else's jobs cost what the recorder saw, and no less than something."""
    jobs = (await world.admin.get(f"{JOBS}/namespaces/{mine}/llmtrainingjobs"))["items"]
    ledger: Counter[tuple[str, str]] = Counter()
    for item in jobs:
        for entry in (item.get("status") or {}).get("ledger", {}).get("entries", []):
            ledger[entry["stage"], entry["role"]] += entry.get("costMicroUsd", 0)
    recorded = world.recorder.by_kind(mine)
    wrong = [f"somebody else's ledger says {dict(ledger)}, the recorder {dict(recorded)}"] if ledger != recorded else []
    return wrong + ([] if len(jobs) == 3 and ledger.total() > 0 else [f"{len(jobs)} jobs of somebody else"])

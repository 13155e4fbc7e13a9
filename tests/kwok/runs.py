"""One job from apply to deletion, with an operator that a fault plagues, and what is left of it."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.kwok.operators import Operator
from tests.kwok.plane import JOBS, Admin, Plane, until
from tests.kwok.proxy import Fault, Kill, Proxy
from tests.kwok.recorder import PodRecorder

CORE = "api/v1"
KINDS = [(CORE, "pods"), (CORE, "services"), (CORE, "secrets"), (CORE, "configmaps"),
         ("apis/networking.k8s.io/v1", "networkpolicies")]  # fmt: skip
NAME = "gpt"
HOME = "default"
"""Where these operators keep the ledger."""


@dataclass
class World:
    """The plane and who looks at it."""

    plane: Plane
    admin: Admin
    recorder: PodRecorder

    def namespace(self, prefix: str) -> str:
        """A name that was not used before."""
        return f"{prefix}-{next(self.plane.numbers):04d}"


@dataclass
class End:
    """What a run left behind."""

    status: dict[str, Any]
    pods: int
    recorded_micro_usd: int
    ledger_micro_usd: int
    booked_micro_usd: int
    left: list[str]
    writes: int
    calls: int
    overlapped: bool
    restarts: int = 0
    names: list[str] = field(default_factory=list)


def spec(**changes: Any) -> dict[str, Any]:
    """A small job on S3, which needs no volume and no Secret."""

    def cluster(plan: str, workers: int, accelerators: int) -> dict[str, Any]:
        group = {"replicas": workers, "acceleratorsPerWorker": accelerators, "cpu": "1", "memory": "4Gi"}
        return {"planRef": {"name": plan}, "workers": group}

    return {
        "storage": {"s3": {"bucket": "llm"}},
        "comparePlans": ["gpu"],
        "curation": {"cluster": cluster("cpu", 1, 0), "sources": [{"name": "docs", "path": "docs/*.jsonl"}]},
        "model": {"preset": "tiny", "contextLength": 128},
        "training": {"cluster": cluster("gpu", 2, 1), "tokens": 1000000, "globalBatchTokens": 4096},
        "evaluation": {"cluster": cluster("gpu", 1, 1), "tasks": [{"name": "held-out", "perplexity": {}}]},
    } | changes


def job(name: str, **changes: Any) -> dict[str, Any]:
    """The manifest."""
    return {
        "apiVersion": "llmtrain.dev/v1alpha1",
        "kind": "LLMTrainingJob",
        "metadata": {"name": name},
        "spec": spec(**changes),
    }


async def play(world: World, prefix: str, fault: Fault, seconds: float = 300) -> End:
    """Run the job to its end, look at it, delete it, look at what is left."""
    namespace = world.namespace(prefix)
    await world.admin.namespace(namespace)
    async with Proxy(world.plane, fault) as proxy:
        operator = Operator(world.plane.state / "operators", f"http://127.0.0.1:{proxy.port}", namespace)
        if isinstance(fault, Kill):
            fault.kill = operator.kill
        await operator.start()
        try:
            return await _play(world, namespace, proxy, operator, seconds)
        except AssertionError as error:
            raise AssertionError(f"{namespace}: {error}\n{operator.log()}") from error
        finally:
            await operator.close()


@dataclass
class Pair:
    """The end of a job that two operators worked at, and the writes of each."""

    end: End
    writes: tuple[int, int]


async def play_twice(world: World, prefix: str, leaves_at: str = "", seconds: float = 300) -> Pair:
    """The same with two operators that know nothing of each other.

    Both from the start; or, with `leaves_at`, the second from the time when a pod of this stage is there ("trn"), and the
    first ends by SIGKILL as soon as the second one has written.
    """
    namespace = world.namespace(prefix)
    await world.admin.namespace(namespace)
    async with Proxy(world.plane, Fault()) as first, Proxy(world.plane, Fault()) as second:
        operators = [
            Operator(world.plane.state / "operators" / which, f"http://127.0.0.1:{proxy.port}", namespace)
            for which, proxy in (("old", first), ("new", second))
        ]
        old, new = operators
        await old.start()
        changing = asyncio.create_task(
            _hand_over(world, f"{namespace}/{NAME}-{leaves_at}", old, new, second, leaves_at)
        )
        try:
            end = await _play(world, namespace, first, old, seconds)
            await changing
        except AssertionError as error:
            raise AssertionError(f"{namespace}: {error}\n{old.log()}\n{new.log()}") from error
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)
            await asyncio.gather(old.close(), new.close())
        end.restarts = sum(operator.starts - 1 for operator in operators)
        return Pair(end, (first.writes, second.writes))


async def _hand_over(world: World, pod: str, old: Operator, new: Operator, proxy: Proxy, leaves_at: str) -> None:
    if not leaves_at:
        await new.start()
        return
    namespace, name = pod.split("/")

    async def works() -> bool:
        return any(each["metadata"]["name"].startswith(name) for each in world.recorder.pods(namespace))

    async def has_written() -> bool:
        return proxy.writes > 0

    await until(f"a pod {name}", works, 120, every=0.05)
    await new.start()
    await until("a write of the new operator", has_written, 60, every=0.02)
    await old.close()


async def _play(world: World, namespace: str, proxy: Proxy, operator: Operator, seconds: float) -> End:
    url = f"{JOBS}/namespaces/{namespace}/llmtrainingjobs"
    await world.admin.post(url, job(NAME))

    async def ended() -> bool:
        state = (await world.admin.get(f"{url}/{NAME}")).get("status", {}).get("state")
        pods = await world.admin.get(f"/api/v1/namespaces/{namespace}/pods")
        return state in ("Succeeded", "Failed") and not pods["items"]

    await until("the end of the job", ended, seconds, every=0.5)
    await asyncio.sleep(1.5)
    final = await world.admin.get(f"{url}/{NAME}")
    await world.admin.delete(f"{url}/{NAME}")

    async def gone() -> bool:
        return await world.admin.get(f"{url}/{NAME}") is None

    await until("the deletion of the job", gone, seconds, every=0.5)
    await asyncio.sleep(0.5)
    return End(
        status=final["status"],
        pods=len(world.recorder.pods(namespace)),
        recorded_micro_usd=world.recorder.micro_usd(namespace),
        ledger_micro_usd=final["status"]["ledger"]["totalMicroUsd"],
        booked_micro_usd=await booked(world.admin, namespace),
        left=await left(world.admin, namespace),
        writes=proxy.writes,
        calls=sum(proxy.calls.values()),
        overlapped=f"{namespace}/{NAME}" in world.recorder.together,
        restarts=operator.starts - 1,
        names=sorted(pod["metadata"]["name"] for pod in world.recorder.pods(namespace)),
    )


async def left(admin: Admin, namespace: str) -> list[str]:
    """Objects of ours that are still there."""
    found = []
    for group, kind in KINDS:
        items = (await admin.get(f"/{group}/namespaces/{namespace}/{kind}"))["items"]
        found += [f"{kind}/{item['metadata']['name']}" for item in items]
    return found


async def booked(admin: Admin, namespace: str) -> int:
    """Microdollars in the namespace's ledger, which is in the operator's."""
    return sum((await booked_by_kind(admin, namespace)).values())


async def booked_by_kind(admin: Admin, namespace: str) -> Counter[tuple[str, str]]:
    """The same by stage and role."""
    selector = f"llmtrain.dev/ledger=Month,llmtrain.dev/namespace={namespace}"
    pages = await admin.get(f"/api/v1/namespaces/{HOME}/configmaps?labelSelector={quote(selector)}")
    sums: Counter[tuple[str, str]] = Counter()
    for page in pages["items"]:
        for booking in json.loads(page["data"]["ledger.json"])["bookings"]:
            for row in booking["rows"]:
                sums[row["stage"], row["role"]] += row.get("costMicroUsd", 0)
    return sums


def shape(status: dict[str, Any]) -> dict[str, Any]:
    """A final status without times, uids and amounts, which differ from run to run."""
    stages = [{key: stage.get(key) for key in ("name", "state", "attempt", "artifact", "reused", "failures")}
              for stage in status["stages"]]  # fmt: skip
    entries = sorted((e["stage"], e["role"], e["plan"], e["tenure"], e["pods"]) for e in status["ledger"]["entries"])
    conditions = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}
    rest = {key: status["ledger"].get(key) for key in ("settled", "highWater")}
    return {"stages": stages, "entries": entries, "conditions": conditions, "rest": rest, "state": status["state"]}


def differences(end: End, golden: End) -> list[str]:
    """Against the same objects, the same status, the same pods, the recorder's bill, nothing left, no two clusters."""
    expected: dict[str, tuple[Any, Any]] = {
        key: (value, shape(golden.status)[key]) for key, value in shape(end.status).items()
    }
    expected |= {
        "pods ever created": (end.names, golden.names),
        "the ledger": (end.ledger_micro_usd, end.recorded_micro_usd),
        "the namespace's ledger": (end.booked_micro_usd, end.recorded_micro_usd),
        "what is left": (end.left, []),
        "two clusters at once": (end.overlapped, False),
    }
    return [f"{what}: {found}, not {wanted}" for what, (found, wanted) in expected.items() if found != wanted]

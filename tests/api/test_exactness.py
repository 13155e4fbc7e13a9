"""Five hundred random lives of pods on the real apiserver: the ledger is the rule's sum, to the microdollar.

The bill is worked out a second time from what a watch saw of every pod, by the rule alone (`bill_by_rule.py`, which
imports nothing of the operator).
"""

import asyncio
import collections
import json
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from llmtrain_operator.act import JOBS
from llmtrain_operator.client import ApiError, KubernetesCluster, connect
from llmtrain_operator.memory import Memory
from llmtrain_operator.names import FINALIZER_JOB
from llmtrain_operator.reconcile import Reconciler

from llmtrain.api.status import JobStatus
from tests.api.conftest import Api
from tests.api.direct import Direct
from tests.api.fates import KINDS, Kubelet, Scheduling, kind_of, together

NAMESPACE, COUNT, WORKERS = "exact", 20, 24


@pytest.fixture
async def cluster(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesCluster]:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    cluster = await connect()
    yield cluster
    await cluster.close()


class Watch:
    """All versions of every pod of the namespace, as an independent observer sees them.

    An apiserver ends the watch of who reads too slowly: each one goes on where the last one ended, so nothing is missed.
    """

    def __init__(self, api: Api) -> None:
        self.pods: dict[str, list[dict[str, Any]]] = {}
        self.gone: set[str] = set()
        self._direct, self._end = Direct(api.kubeconfig), threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        version = "0"
        while not self._end.is_set():
            for event in self._direct.events(f"/api/v1/namespaces/{NAMESPACE}/pods", version, 5):
                uid, version = (event["object"]["metadata"][key] for key in ("uid", "resourceVersion"))
                self.pods.setdefault(uid, []).append(event["object"])
                if event["type"] == "DELETED":
                    self.gone.add(uid)

    def close(self) -> None:
        self._end.set()
        self._thread.join(40)
        assert not self._thread.is_alive()
        self._direct.close()


@pytest.fixture
def watch(api: Api) -> Iterator[Watch]:
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}}
    api.apply(account)
    watch = Watch(api)
    yield watch
    watch.close()


def plan(number: int, rng: random.Random) -> dict[str, Any]:
    rented = {
        "acceleratorHourUsd": f"{rng.uniform(0.1, 9):.4f}",
        "cpuHourUsd": f"{rng.uniform(0, 0.1):.6f}",
        "memoryGibHourUsd": f"{rng.uniform(0, 0.01):.6f}",
        "incrementSeconds": rng.choice([1, 60, 3600]),
        "minimumSeconds": rng.choice([0, 60, 600]),
    }
    spec = {"tenure": "Rented", "accelerator": {"product": "H100-SXM-80GB"}, "rented": rented}
    return {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "ComputePlan",
            "metadata": {"name": f"exact-{number}"}, "spec": spec}  # fmt: skip


async def make_job(cluster: KubernetesCluster, number: int, demo: dict[str, Any]) -> None:
    """A job whose preflight is done and whose curation asks for 25 pods; the first loss of one ends it."""
    group = {"replicas": WORKERS, "cpu": "1", "memory": "3Gi", "acceleratorsPerWorker": number % 3}
    spec = {key: value for key, value in demo["spec"].items() if key != "budget"}
    spec = {**spec, "retry": {"limit": 0, "infrastructureLimit": 0}}
    head = {"cpu": "1", "memory": "2Gi"}
    chosen = {"planRef": {"name": f"exact-{number}"}, "head": head, "workers": group}
    spec["curation"] = {**spec["curation"], "cluster": chosen}
    name = f"job-{number}"
    meta = {"name": name, "namespace": NAMESPACE, "finalizers": [FINALIZER_JOB]}
    made = await cluster.create(JOBS, NAMESPACE, {**demo, "metadata": meta, "spec": spec})
    done = {"stages": [{"name": "Preflight", "state": "Succeeded"}]}
    await cluster.replace(JOBS, NAMESPACE, name, {**made, "status": done}, "status")


class Operator:
    """Restarted for every turn: nothing but the API remembers."""

    def __init__(self, cluster: Any) -> None:
        self.ahead = timedelta(0)
        """How much later than now it is for the operator."""
        self._reconciler = Reconciler(cluster, lambda: datetime.now(UTC) + self.ahead, "jobs:1")

    async def turn(self, number: int) -> None:
        try:
            await self._reconciler.turn(NAMESPACE, f"job-{number}", Memory())
        except ApiError as error:
            if error.code != 409:
                raise

    async def turns(self) -> None:
        await together(self.turn(number) for number in range(COUNT))


async def live_and_die(kubelet: Kubelet, operator: Operator, rng: random.Random) -> None:
    """Every pod's life; the operator looks at the first half of the jobs now and then, at the others only after."""
    pods = await kubelet.pods()
    await together(kubelet.place(pod) for pod in pods)
    await operator.turns()
    rng.shuffle(pods)
    for start in range(0, len(pods), 50):
        await together(kubelet.happen(pod) for pod in pods[start : start + 50])
        await together(operator.turn(rng.randrange(COUNT // 2)) for _ in range(3))
    await kubelet.cluster.delete("api/v1/nodes", "", "exact-gone", "", 0)
    await kubelet.set_ready("exact-silent", "Unknown", timedelta(minutes=10))


async def drain(kubelet: Kubelet, operator: Operator) -> None:
    """Every pod's grace is over, which is when nodes of those that are still there are asked for."""
    operator.ahead = timedelta(seconds=90)
    for _ in range(40):
        await operator.turns()
        await kubelet.obey()
        if not await kubelet.pods():
            await operator.turns()
            return
    left = collections.Counter(kind_of(pod) for pod in await kubelet.pods())
    raise AssertionError(f"pods are left: {left}")


@pytest.mark.timeout(900)
async def test_the_ledger_is_the_rules_sum_of_500_random_lives(
    cluster: KubernetesCluster, api: Api, watch: Watch, demo_job: dict[str, Any]
) -> None:
    rng = random.Random(20260301)
    kubelet, operator = Kubelet(cluster, NAMESPACE, rng), Operator(Scheduling(cluster, rng))
    await kubelet.nodes()
    for number in range(COUNT):
        api.apply(plan(number, rng))
        await make_job(cluster, number, demo_job)
    await operator.turns()
    assert len(await kubelet.pods()) == COUNT * (1 + WORKERS) == 500
    await live_and_die(kubelet, operator, rng)
    await drain(kubelet, operator)
    for _ in range(1800):
        if len(watch.gone) >= 500:
            break
        await asyncio.sleep(0.1)
    assert len(watch.gone) == 500, "the watch has not seen every pod go"
    assert {kind_of(versions[-1]) for versions in watch.pods.values()} == set(KINDS)
    script = Path(__file__).with_name("bill_by_rule.py")
    text = json.dumps(list(watch.pods.values()))
    done = subprocess.run([sys.executable, "-I", str(script)], input=text, capture_output=True, text=True, check=True)
    expected: dict[str, Any] = json.loads(done.stdout)
    found = {}
    for job in (await cluster.find(JOBS, NAMESPACE, "")).items:
        ledger = JobStatus.model_validate(job["status"]).ledger
        assert (ledger.high_water, ledger.settled) == ([], [])
        assert ledger.total_micro_usd == sum(entry.cost_micro_usd for entry in ledger.entries)
        found[job["metadata"]["name"]] = {
            "pods": sum(entry.pods for entry in ledger.entries),
            "seconds": sum(entry.pod_seconds for entry in ledger.entries),
            "billed": sum(entry.billed_seconds for entry in ledger.entries),
            "microUsd": ledger.total_micro_usd,
        }
    assert found == expected
    assert sum(job["pods"] for job in found.values()) == len(watch.pods)
    assert sum(job["microUsd"] for job in found.values()) > 10_000_000

"""Elastic workers on the real apiserver: what is refused, what may change while training runs, and a full node."""

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from llmtrain_operator.client import KubernetesCluster, connect

from llmtrain.api.status import JobStatus
from tests.api.conftest import Api
from tests.api.kubelet import now
from tests.api.test_updates import NAMESPACE, Run, Steady, end, kubelet_of, manifest_of


def elastic(demo: dict[str, Any], name: str, workers: dict[str, Any], **training: Any) -> dict[str, Any]:
    body = manifest_of(demo, name)
    body["spec"]["training"]["cluster"]["workers"] |= workers
    body["spec"]["training"] |= training
    return body


@pytest.fixture(scope="module")
def namespace(api: Api) -> None:
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize(
    ("workers", "training", "message"),
    [
        ({"replicas": 2, "minReplicas": 3}, {}, "`minReplicas` must be from 1 to `replicas`, or 0: not elastic"),
        ({"replicas": 4, "minReplicas": -1}, {}, "should be greater than or equal to 0"),
        ({"replicas": 4, "minReplicas": 3}, {"parallelism": {"tensor": 2}}, "must give whole replicas of the model"),
        (
            {"replicas": 4, "minReplicas": 2},
            {"parallelism": {"sharding": "Hsdp", "shardSize": 2}},
            "`minReplicas` must give two or more replicas of `shardSize` processes",
        ),
        ({"replicas": 4, "minReplicas": 2}, {"parallelism": {"data": "4"}}, "must be Auto with `minReplicas`"),
        ({"replicas": 4, "minReplicas": 2, "elasticWaitSeconds": 4000}, {}, "should be less than or equal to 3600"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_allowed(
    api: Api, demo_job: dict[str, Any], workers: dict[str, Any], training: dict[str, Any], message: str
) -> None:
    body = elastic(demo_job, "refused", workers, device="Auto", **training)
    body["spec"]["training"]["cluster"]["workers"]["acceleratorsPerWorker"] = 1
    assert message in api.direct.refusal(body)


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize("stage", ["curation", "evaluation"])
def test_only_training_has_the_field(api: Api, demo_job: dict[str, Any], stage: str) -> None:
    body = manifest_of(demo_job, "elsewhere")
    body["spec"][stage]["cluster"]["workers"]["minReplicas"] = 1
    assert 'unknown field "spec.' in api.refusal(body)


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize(
    ("least", "changes", "message"),
    [
        (1, {"replicas": 1}, ""),
        (1, {"replicas": 4, "elasticWaitSeconds": 5}, ""),
        (1, {"minReplicas": 0}, "`replicas` of an elastic group"),
        (1, {"replicas": 4, "minReplicas": 2}, "may only change while the stage has no pods"),
        (1, {"replicas": 4, "memory": "9Gi"}, "may only change while the stage has no pods"),
        (0, {"replicas": 4}, "may only change while the stage has no pods"),
        (0, {"minReplicas": 1}, "may only change while the stage has no pods"),
    ],
)
def test_an_elastic_training_changes_its_size_as_it_runs(
    api: Api, demo_job: dict[str, Any], least: int, changes: dict[str, Any], message: str
) -> None:
    body = elastic(demo_job, "resized", {"replicas": 2, "minReplicas": least})
    api.apply(body)
    runs = '{"status": {"stages": [{"name": "Training", "state": "Running", "attempt": 1}]}}'
    done = api.run("patch", "llmjob", "resized", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", runs)
    assert done.returncode == 0, done.stderr
    changed = copy.deepcopy(body)
    changed["spec"]["training"]["cluster"]["workers"] |= changes
    refusal = api.direct.refusal(changed)
    assert (message in refusal) if message else not refusal
    api.run("delete", "llmjob", "resized", "-n", NAMESPACE)


class Crowded(Steady):
    """The node is full for some workers, as long as they are in `full`."""

    full = ("w1-1",)

    async def look(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        waits = "-trn-" in name and name.endswith(self.full) and not pod["spec"].get("nodeName")
        if not waits or "deletionTimestamp" in pod["metadata"]:
            await super().look(pod)
        elif not pod.get("status", {}).get("conditions"):
            text = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
            unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
            await self.set_status(pod, {"phase": "Pending", "conditions": [unplaced | {"lastTransitionTime": now()}]})


@pytest.fixture
async def crowded(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[KubernetesCluster, Crowded]]:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    cluster = await connect()
    kubelet = Crowded(cluster, NAMESPACE)
    async with kubelet_of(kubelet, api):
        yield cluster, kubelet
    await cluster.close()


def fewer(status: JobStatus) -> bool:
    return status.waiting is not None and status.waiting.reason == "FewerWorkers"


@pytest.mark.timeout(300)
async def test_training_runs_beside_a_worker_that_no_node_takes_and_takes_it_in_later(
    crowded: tuple[KubernetesCluster, Crowded], api: Api, demo_job: dict[str, Any]
) -> None:
    """The start deadline of 10 s passes; the pod that waits costs nothing; then there is room, and then less is wanted."""
    cluster, kubelet = crowded
    workers = {"replicas": 2, "minReplicas": 1, "acceleratorsPerWorker": 1}
    run = Run(cluster, api, elastic(demo_job, "crowded", workers), "jobs:1")
    run.manifest["spec"]["startDeadlineSeconds"] = 10
    api.apply(run.manifest)
    await run.until("training with one of two", fewer)
    for _ in range(30):
        status = await run.turn()
        await asyncio.sleep(0.5)
    assert fewer(status), status.waiting
    assert status.waiting is not None
    assert status.waiting.held_micro_usd == 0
    assert status.waiting.message.startswith("1 of 2 workers can train")
    marks = {mark.role: mark.pod_seconds for mark in status.ledger.high_water}
    assert set(marks) == {"head", "worker"}
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in await run.pods()}
    kubelet.full = ("none",)
    await run.until("both workers", lambda status: status.waiting is None and status.stage == "Training")
    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in await run.pods()}
    assert after == before, "nothing was started anew"
    changed = copy.deepcopy(run.manifest)
    changed["spec"]["training"]["cluster"]["workers"]["replicas"] = 1
    api.apply(changed)
    status = await run.until("one worker", lambda status: len(status.stages[2].workers) == 1)
    await run.until("its pod gone", lambda status: not status.ledger.settled and len(status.ledger.high_water) == 2)
    assert status.stages[2].attempt == 1
    assert {name for name, uid in after.items()} - {p["metadata"]["name"] for p in await run.pods()} == {
        f"{run.name}-trn-1-w1-1"
    }
    await end(run)

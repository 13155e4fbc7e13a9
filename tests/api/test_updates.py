"""An operator of another version takes over, and a manifest gets worse and better again: what runs goes on."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, KubernetesCluster, connect
from llmtrain_operator.memory import Memory
from llmtrain_operator.reconcile import JOBS, Reconciler

from llmtrain.api.status import JobStatus
from tests.api.conftest import Api
from tests.api.kubelet import NODE, Kubelet, ready_node

NAMESPACE = "updates"
PLAN = {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "ComputePlan"}
CPU = {"tenure": "Rented", "rented": {"cpuHourUsd": "0.03", "memoryGibHourUsd": "0.004"}}
GPU = {"tenure": "Rented", "accelerator": {"product": "H100-SXM-80GB"}, "rented": {"acceleratorHourUsd": "3.99"}}


class Steady(Kubelet):
    """Training goes on until somebody ends it."""

    async def look(self, pod: dict[str, Any]) -> None:
        training = pod["metadata"]["labels"]["llmtrain.dev/stage"] == "Training"
        if training and pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]:
            return
        await super().look(pod)


class Run:
    """One job, the operator that cares for it, and the pods' kubelet."""

    def __init__(self, cluster: KubernetesCluster, api: Api, manifest: dict[str, Any], image: str) -> None:
        self.cluster, self.api, self.manifest = cluster, api, manifest
        self.name = manifest["metadata"]["name"]
        self.operator(image)

    def operator(self, image: str) -> None:
        """The next version: nothing is left of the one before but what the API has."""
        self.reconciler, self.memory = Reconciler(self.cluster, lambda: datetime.now(UTC), image), Memory()

    async def turn(self) -> JobStatus:
        try:
            await self.reconciler.turn(NAMESPACE, self.name, self.memory)
        except ApiError as error:
            if error.code != 409:
                raise
        job = await self.cluster.get(JOBS, NAMESPACE, self.name)
        return JobStatus.model_validate((job or {}).get("status") or {})

    async def until(self, what: str, check: Callable[[JobStatus], Any]) -> JobStatus:
        status = JobStatus()
        for _ in range(240):
            status = await self.turn()
            if check(status):
                return status
            await asyncio.sleep(0.25)
        raise AssertionError(f"not {what}: {status.stage} {status.state} {status.waiting}")

    async def pods(self) -> list[dict[str, Any]]:
        return (await self.cluster.find("api/v1/pods", NAMESPACE, f"llmtrain.dev/job={self.name}")).items


@pytest.fixture
async def cluster(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesCluster]:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    cluster = await connect()
    async with kubelet_of(Steady(cluster, NAMESPACE), api):
        yield cluster
    await cluster.close()


@asynccontextmanager
async def kubelet_of(kubelet: Kubelet, api: Api) -> AsyncIterator[Kubelet]:
    """A node, the plans of these tests, and a kubelet that looks after their pods."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}}
    for body in (account, ready_node(), {**PLAN, "metadata": {"name": "u-cpu"}, "spec": CPU},
                 {**PLAN, "metadata": {"name": "u-gpu"}, "spec": GPU}):  # fmt: skip
        api.apply(body)
    ready = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}]
    api.set_status("node", NODE, {"status": {"conditions": ready}})
    task = asyncio.create_task(kubelet.run())
    yield kubelet
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def manifest_of(demo: dict[str, Any], name: str) -> dict[str, Any]:
    body: dict[str, Any] = copy.deepcopy({**demo, "metadata": {"name": name, "namespace": NAMESPACE}})
    for stage, plan in (("curation", "u-cpu"), ("training", "u-gpu"), ("evaluation", "u-gpu")):
        body["spec"][stage]["cluster"]["planRef"] = {"name": plan}
    return body | {"spec": {key: value for key, value in body["spec"].items() if key != "comparePlans"}}


def all_run(status: JobStatus) -> bool:
    return status.stage == "Training" and status.state == "Running" and status.waiting is None


@pytest.mark.timeout(300)
async def test_an_operator_of_another_version_touches_no_pod_that_runs(
    cluster: KubernetesCluster, api: Api, demo_job: dict[str, Any]
) -> None:
    run = Run(cluster, api, manifest_of(demo_job, "upgraded"), "jobs:1")
    api.apply(run.manifest)
    await run.until("training", all_run)
    await run.until("its pods run", lambda status: len(status.ledger.high_water) == 3)
    await asyncio.sleep(2)
    before = {pod["metadata"]["name"]: pod for pod in await run.pods()}
    run.operator("jobs:2")
    for _ in range(10):
        status = await run.turn()
    after = {pod["metadata"]["name"]: pod for pod in await run.pods()}
    assert [len(before), status.stages[2].attempt, status.state] == [3, 1, "Running"]
    versions = [{name: (p["metadata"]["uid"], p["metadata"]["resourceVersion"]) for name, p in found.items()}
                for found in (before, after)]  # fmt: skip
    assert versions[0] == versions[1], "not one write to a pod"
    await lose(run, after[f"{run.name}-trn-1-w0-1"])
    await run.until("a successor", lambda status: status.stages[2].workers[0].incarnation == 2)
    images = {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in await run.pods()}
    assert images[f"{run.name}-trn-1-w0-2"] == "jobs:1", "a worker of another version could not join its head"
    await lose(run, after[f"{run.name}-trn-1-head"])
    await run.until("the next attempt", lambda status: status.stages[2].attempt == 2 and all_run(status))
    assert {pod["spec"]["containers"][0]["image"] for pod in await run.pods()} == {"jobs:2"}
    await end(run)


async def lose(run: Run, pod: dict[str, Any]) -> None:
    """The pod ends as if its node had been taken."""
    status = Kubelet(run.cluster, NAMESPACE).ended(pod, 137, "")
    body = {"status": status | {"reason": "Evicted"}}
    run.api.run("patch", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "--subresource=status", "--type=merge",
                "-p", json.dumps(body))  # fmt: skip


async def end(run: Run) -> None:
    """The job is deleted; nothing of it stays."""
    run.api.run("delete", "llmjob", run.name, "-n", NAMESPACE, "--wait=false")
    for _ in range(240):
        if await run.cluster.get(JOBS, NAMESPACE, run.name) is None:
            break
        try:
            await run.reconciler.turn(NAMESPACE, run.name, run.memory)
        except ApiError as error:
            if error.code != 409:
                raise
        await asyncio.sleep(0.25)
    assert await run.pods() == []


@pytest.mark.timeout(300)
async def test_after_a_bad_update_the_last_good_one_converges_again(
    cluster: KubernetesCluster, api: Api, demo_job: dict[str, Any]
) -> None:
    good = manifest_of(demo_job, "mended")
    run = Run(cluster, api, good, "jobs:1")
    api.apply(good)
    # Refused: what is stored stays, and the job goes on by it.
    refused = copy.deepcopy(good)
    refused["spec"]["training"]["tokens"] = -1
    assert "spec.training.tokens" in api.refusal(refused)
    # Taken, for it needs another object to be seen: the stage that it concerns waits, with the field's name.
    bad = copy.deepcopy(good)
    bad["spec"]["training"]["cluster"]["planRef"] = {"name": "no-such-plan"}
    api.apply(bad)
    status = await run.until(
        "waiting for the plan", lambda s: s.waiting is not None and s.waiting.reason == "PlanNotFound"
    )
    assert status.waiting is not None
    assert "ComputePlan `no-such-plan` of Training does not exist" in status.waiting.message
    spent = status.ledger.total_micro_usd
    for _ in range(5):
        status = await run.turn()
    assert (await run.pods(), status.ledger.total_micro_usd) == ([], spent), "a job that waits costs nothing"
    api.apply(good)
    status = await run.until("training by the good manifest", all_run)
    attempts = [(stage.name.value, stage.attempt) for stage in status.stages[:3]]
    assert attempts == [("Preflight", 1), ("Curation", 1), ("Training", 1)], "nothing was paid for twice"
    await end(run)

"""`kubectl delete namespace` with jobs in it, on a real apiserver: it ends, every job is booked, and what they cost is told."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from llmtrain_operator.client import KubernetesCluster, connect

from tests.api.account import operator
from tests.api.conftest import Api
from tests.api.kubelet import PODS, Kubelet, ready_node
from tests.api.test_rights import until
from tests.unit.operator.scenario import CPU_PLAN, GPU_PLAN, job_spec

SPACE, HOME = "leaving", "ledger-home"
GROUP = "llmtrain.dev/v1alpha1"
KINDS = "configmaps,services,secrets,networkpolicies,llmtrainingjobs,pods,serviceaccounts"
BILL = str(Path(__file__).with_name("bill_by_rule.py"))
LONGEST = 30.0
"""Seconds beyond the pods' grace, of which this kubelet needs none."""


class Holding(Kubelet):
    """Pods of job `running` go on until they are deleted, the head of `finished` ends in a user's error; all are remembered."""

    def __init__(self, cluster: KubernetesCluster, namespace: str) -> None:
        super().__init__(cluster, namespace)
        self.versions: dict[str, list[dict[str, Any]]] = {}

    async def look(self, pod: dict[str, Any]) -> None:
        self.versions.setdefault(pod["metadata"]["uid"], []).append(pod)
        runs = pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        if runs and pod["metadata"]["name"].startswith("finished"):
            words = {"outcome": "Failed", "failureClass": "BadInput", "message": "no data"}
            await self.set_status(pod, self.ended(pod, 64, json.dumps(words)))
        elif not runs:
            await super().look(pod)

    async def set_status(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        """When the pod was scheduled stays as the binding wrote it."""
        bound = {key: pod["status"][key] for key in ("conditions",) if pod["status"].get(key)}
        body = {**pod, "status": pod["status"] | status | bound}
        written = await self.cluster.replace(PODS, self.namespace, pod["metadata"]["name"], body, "status")
        self.versions[pod["metadata"]["uid"]].append(written)

    def micro_usd(self) -> dict[str, int]:
        """What they cost, by job, as a program says that shares nothing with the operator."""
        text = json.dumps(list(self.versions.values()))
        done = subprocess.run([sys.executable, BILL], input=text, capture_output=True, text=True, check=True)
        return {job: bill["microUsd"] for job, bill in json.loads(done.stdout).items()}

    def pays(self) -> bool:
        """The pods of `running` all run."""
        pods = [versions[-1] for versions in self.versions.values()]
        mine = [pod["status"].get("phase") for pod in pods if pod["metadata"]["name"].startswith("running-")]
        return set(mine) == {"Running"}


def states(api: Api) -> dict[str, str]:
    items = api.get("llmjob", "-n", SPACE)["items"]
    return {item["metadata"]["name"]: item.get("status", {}).get("state", "") for item in items}


def collect(api: Api) -> bool:
    """What the namespace controller does: everything is deleted; once nothing is left, the namespace may go."""
    api.run("delete", KINDS, "--all", "-n", SPACE, "--wait=false")
    if api.get(KINDS, "-n", SPACE)["items"]:
        return False
    body = api.get("namespace", SPACE) | {"spec": {"finalizers": []}}
    return api.run("replace", "--raw", f"/api/v1/namespaces/{SPACE}/finalize", "-f", "-", body=body).returncode == 0


@pytest.mark.timeout(120)
async def test_a_namespace_with_running_suspended_and_finished_jobs_goes_and_is_booked(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    for name in (SPACE, HOME):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": SPACE}})
    for name, spec in (("cpu", CPU_PLAN), ("gpu", GPU_PLAN)):
        api.apply({"apiVersion": GROUP, "kind": "ComputePlan", "metadata": {"name": name}, "spec": spec})
    api.apply(ready_node())
    for name in ("running", "suspended", "finished"):
        metadata = {"name": name, "namespace": SPACE}
        spec = job_spec() | {"suspend": name == "suspended", "retry": {"limit": 0}}
        api.apply({"apiVersion": GROUP, "kind": "LLMTrainingJob", "metadata": metadata, "spec": spec})
    cluster = await connect()
    node = Holding(cluster, SPACE)
    task = asyncio.create_task(node.run())
    settings = {"LLMTRAIN_OPERATOR_NAMESPACE": HOME, "LLMTRAIN_NAMESPACES": SPACE}
    with operator(api.kubeconfig, tmp_path / "log", **settings):
        wanted = {"running": "Running", "suspended": "Suspended", "finished": "Failed"}
        await until("what is to be", lambda: states(api) == wanted, 30)
        await until("pods that are paid for", node.pays, 10)
        assert api.run("delete", "namespace", SPACE, "--wait=false").returncode == 0
        begun = time.monotonic()
        await until("the namespace's end", lambda: collect(api), LONGEST)
        taken = time.monotonic() - begun
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await cluster.close()
    assert taken < LONGEST, taken
    assert api.run("get", "namespace", SPACE).returncode != 0
    pages = api.get("configmaps", "-n", HOME, "-l", f"llmtrain.dev/namespace={SPACE}")["items"]
    bookings = [one for page in pages for one in json.loads(page["data"]["ledger.json"])["bookings"]]
    booked = {one["job"]: sum(row.get("costMicroUsd", 0) for row in one["rows"]) for one in bookings}
    assert booked == node.micro_usd()
    assert set(booked) == {"running", "finished"}
    assert all(booked.values())
    told = [event for event in api.get("events", "-n", "default")["items"] if event["reason"] == "JobBooked"]
    log = (tmp_path / "log").read_text()
    costs = {event["message"].split()[1]: event["message"].split()[3] for event in told}
    assert costs == {name: f"{booked.get(name, 0) / 1e6:.6f}" for name in wanted}, log
    assert {(one["involvedObject"]["kind"], one["involvedObject"]["name"]) for one in told} == {("Namespace", SPACE)}
    assert f"{SPACE}/running: job running cost " in log

"""A whole job by the operator's own account: nothing is forbidden to it, and nothing is granted that it does not use."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from llmtrain_operator.client import KubernetesCluster, connect

from tests.api.account import EVERYTHING, HOME, audited, give_rights, kubeconfig, operator
from tests.api.conftest import Api
from tests.api.kubelet import Kubelet, ready_node
from tests.unit.operator.scenario import CPU_PLAN, GPU_PLAN, job_spec

NAMESPACE = "rights"
GROUP = "llmtrain.dev/v1alpha1"


def job(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": GROUP, "kind": "LLMTrainingJob", "metadata": metadata, "spec": job_spec() | spec}


def prepare(api: Api) -> None:
    """A namespace that enforces restricted pods, plans, a budget, a node."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}})
    only = {"allowedNamespaces": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}}
    for name, spec in (("cpu", CPU_PLAN), ("gpu", GPU_PLAN | only)):
        api.apply({"apiVersion": GROUP, "kind": "ComputePlan", "metadata": {"name": name}, "spec": spec})
    metadata = {"name": "all", "namespace": NAMESPACE}
    api.apply({"apiVersion": GROUP, "kind": "TrainingBudget", "metadata": metadata,
               "spec": {"period": "Total", "limitUsd": "100000"}})  # fmt: skip
    api.apply(ready_node())
    ready = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "A",
        "message": "",
    }
    api.set_status("node", "node-1", {"status": {"conditions": [ready]}})


def foreign(kind: str, name: str) -> dict[str, Any]:
    """A user's own object under the name that one of a job must have."""
    body: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}}
    if kind == "Pod":
        security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
        body["spec"] = {"containers": [{"name": "mine", "image": "mine", "securityContext": security}]}
    return body


@asynccontextmanager
async def kubelet(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kubelet]:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    cluster: KubernetesCluster = await connect()
    # A node is asked for where a pod of it is in doubt.
    kubelet = Kubelet(cluster, NAMESPACE, cut_off="-trn-1-head")
    task = asyncio.create_task(kubelet.run())
    yield kubelet
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await cluster.close()


async def until(what: str, check: Callable[[], Any], seconds: float) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = await asyncio.to_thread(check)
        if answer:
            return answer
        await asyncio.sleep(0.5)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def find(api: Api, name: str) -> dict[str, Any]:
    done = api.run("get", "llmjob", name, "-n", NAMESPACE, "-o", "json")
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def gone(api: Api, name: str) -> bool:
    return "NotFound" in api.run("get", "llmjob", name, "-n", NAMESPACE).stderr


def name_taken(api: Api, name: str) -> bool:
    return "NameTaken" in str(find(api, name).get("status", {}).get("waiting"))


async def scenario(api: Api, seconds: float) -> None:
    """Everything that needs a right: two jobs from the first stage to their deletion, and names that are taken."""
    api.apply(job("first", ttlSecondsAfterFinished=1))
    api.apply(job("second", ttlSecondsAfterFinished=1))
    taken = {"Pod": "pod-pre-1-head", "ConfigMap": "config-pre-1-config"}
    for kind, name in taken.items():
        api.apply(foreign(kind, name))
        api.apply(job(name.split("-")[0], retry={"limit": 0}))
    for kind, name in taken.items():
        await until(f"{kind} is told to be taken", partial(name_taken, api, name.split("-")[0]), seconds)
    for name in ("first", "second"):
        await until(f"{name} is over and gone", partial(gone, api, name), seconds)
    for name in taken.values():
        # They would wait on for the names.
        api.run("delete", "llmjob", name.split("-")[0], "-n", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def prepared(api: Api) -> Api:
    prepare(api)
    return api


@pytest.mark.timeout(300)
async def test_a_whole_job_needs_every_right_and_no_other(
    prepared: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = prepared
    give_rights(api, EVERYTHING)
    log = tmp_path / "operator.log"
    async with kubelet(api, monkeypatch) as node:
        with operator(kubeconfig(api, tmp_path), log) as ports:
            await scenario(api, 200)
            for kind, name in (("pod", "pod-pre-1-head"), ("configmap", "config-pre-1-config")):
                assert api.run("get", kind, name, "-n", NAMESPACE).returncode == 0, "what is not ours was touched"
            await until("the readiness", lambda: answers(ports["health"]), 30)
            await until("the end of what was made for taken names", lambda: left(api) == [], 120)
    assert audited(api, allowed=False) == set(), "forbidden"
    assert EVERYTHING - audited(api, allowed=True) == set(), "granted and not used"
    assert len(node.created) == len(set(node.created)) >= 2 * 8
    booked = [json.loads(page["data"]["ledger.json"]) for page in pages(api)]
    rows = [row for page in booked for booking in page["bookings"] for row in booking["rows"]]
    assert sum(row["pods"] for row in rows) == 2 * 8, (booked, sorted(node.created), log.read_text())


def pages(api: Api) -> list[dict[str, Any]]:
    """Of the namespace's ledger, in the operator's."""
    selector = f"llmtrain.dev/ledger=Month,llmtrain.dev/namespace={NAMESPACE}"
    found: list[dict[str, Any]] = api.get("configmaps", "-n", HOME, "-l", selector)["items"]
    return found


def left(api: Api) -> list[str]:
    """Objects of attempts; of jobs whose names were taken as well, until they are deleted."""
    items = api.get("secrets,services,networkpolicies", "-n", NAMESPACE)["items"]
    return [item["metadata"]["name"] for item in items]


def answers(port: int) -> bool:
    with urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
        return bool(answer.read() == b"ok")

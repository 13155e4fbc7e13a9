"""Budgets on a real apiserver: what is refused, and one headroom that jobs of two operators race for."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from llmtrain_operator.billing import format_time
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, KubernetesCluster, connect
from llmtrain_operator.memory import Memory
from llmtrain_operator.names import FINALIZER_JOB
from llmtrain_operator.reconcile import JOBS, Reconciler

from llmtrain.api.status import JobStatus
from llmtrain.api.trainingbudget import TrainingBudgetStatus
from tests.api.conftest import Api

NAMESPACE, ROUNDS = "race", 8
NEED = 1980
"""Microdollars of a preflight without an estimate: 710 s of a quarter core and half a GiB, rounded by pod."""


@pytest.fixture
async def operators(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[KubernetesCluster]]:
    """Two operators with connections of their own."""
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    clusters = [await connect(), await connect()]
    yield clusters
    for cluster in clusters:
        await cluster.close()


async def make_jobs(cluster: KubernetesCluster, count: int, start: int, demo: dict[str, Any]) -> list[str]:
    names = [f"racer-{start + number}" for number in range(count)]
    spec = {key: value for key, value in demo["spec"].items() if key != "budget"}
    spec["preflight"] = {"cluster": {"planRef": {"name": "race"}, "head": {"cpu": "250m", "memory": "512Mi"}}}
    for name in names:
        meta = {"name": name, "namespace": NAMESPACE, "finalizers": [FINALIZER_JOB]}
        await cluster.create(JOBS, NAMESPACE, {**demo, "metadata": meta, "spec": spec})
    return names


async def status_of(cluster: KubernetesCluster) -> TrainingBudgetStatus:
    raw = await cluster.get(BUDGETS, NAMESPACE, "shared")
    assert raw is not None
    return TrainingBudgetStatus.model_validate(raw.get("status") or {})


async def operate(cluster: KubernetesCluster, names: list[str], limit: int) -> int:
    """One operator's turns over all jobs at once, twice; the most that it saw held."""
    reconciler = Reconciler(cluster, lambda: datetime.now(UTC), "jobs:1")
    most = 0

    async def turns(name: str) -> None:
        nonlocal most
        memory = Memory()
        for _ in range(5):
            try:
                await reconciler.turn(NAMESPACE, name, memory)
            except ApiError as error:
                if error.code != 409:
                    raise
            most = max(most, (await status_of(cluster)).held)

    await asyncio.gather(*(turns(name) for name in names))
    assert most <= limit
    return most


@pytest.mark.timeout(600)
async def test_jobs_of_two_operators_never_hold_more_than_the_limit(
    operators: list[KubernetesCluster], api: Api, demo_job: dict[str, Any]
) -> None:
    rng = random.Random(7)
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}})
    rented = {"cpuHourUsd": "0.031611", "memoryGibHourUsd": "0.004237"}
    plan = {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "ComputePlan", "metadata": {"name": "race"}}
    api.apply({**plan, "spec": {"tenure": "Rented", "rented": rented}})
    conflicts = 0
    for number in range(ROUNDS):
        jobs = rng.randint(2, 4)
        limit = rng.randint(1, jobs * NEED)
        body = {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "TrainingBudget"}
        api.apply({**body, "metadata": {"name": "shared", "namespace": NAMESPACE},
                   "spec": {"limitUsd": f"{limit / 1e6:.6f}"}})  # fmt: skip
        names = await make_jobs(operators[0], jobs, number * 10, demo_job)
        await asyncio.gather(*(operate(cluster, names, limit) for cluster in operators))
        found = [await operators[0].get(JOBS, NAMESPACE, name) for name in names]
        running = sum(JobStatus.model_validate((job or {}).get("status") or {}).state == "Running" for job in found)
        held = (await status_of(operators[0])).held
        assert held <= limit
        assert running == sum(r.reserved_micro_usd > 0 for r in (await status_of(operators[0])).reservations)
        conflicts += sum(cluster.requests[("PUT", "409")] for cluster in operators)
        for name in names:
            await remove(operators[0], name)
        api.run("delete", "trainingbudget", "shared", "-n", NAMESPACE)
    assert conflicts > 0, "nobody ever raced"


async def remove(cluster: KubernetesCluster, name: str) -> None:
    """The job and its pods without a bill: they were never scheduled."""
    job = await cluster.get(JOBS, NAMESPACE, name)
    assert job is not None
    await cluster.delete(JOBS, NAMESPACE, name, job["metadata"]["uid"], None)
    reconciler = Reconciler(cluster, lambda: datetime.now(UTC), "jobs:1")
    for _ in range(6):
        await reconciler.turn(NAMESPACE, name, Memory())
    assert await cluster.get(JOBS, NAMESPACE, name) is None


async def test_the_kubelet_alone_keeps_a_job_below_its_limit(
    operators: list[KubernetesCluster], api: Api, demo_job: dict[str, Any]
) -> None:
    """The limit is lowered once, then no operator runs until two hours after the pod's end; 0.01 dollars a second.

    All of it lies in the past: a kubelet that tells of tomorrow has a clock that is off, and is not believed.
    """
    cluster, begin = operators[0], datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    name, where = "alone", {"namespace": NAMESPACE}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", **where}})
    rented = {"cpuHourUsd": "36", "memoryGibHourUsd": "0", "incrementSeconds": 60}
    plan = {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "ComputePlan", "metadata": {"name": "dear"}}
    api.apply({**plan, "spec": {"tenure": "Rented", "rented": rented}})
    head = {"cluster": {"planRef": {"name": "dear"}, "head": {"cpu": "1", "memory": "1Gi"}}}
    spec = {**demo_job["spec"], "preflight": head, "budget": {"limitUsd": "9.00", "onBreach": "Suspend"}}
    meta = {"name": name, "finalizers": [FINALIZER_JOB], **where}
    await cluster.create(JOBS, NAMESPACE, {**demo_job, "metadata": meta, "spec": spec})
    reconciler = Reconciler(cluster, lambda: begin, "jobs:1")
    await reconciler.turn(NAMESPACE, name, Memory())
    pod = await the_pod(cluster, f"{name}-pre-1-head")
    # 15 whole minutes are paid for; 10 s to be taken, 60 s of grace, 15 s of a slow kubelet are not for it to run.
    assert pod["spec"]["activeDeadlineSeconds"] == 15 * 60 - 85
    api.run("patch", "llmjob", name, "-n", NAMESPACE, "--type=merge", "-p", '{"spec":{"budget":{"limitUsd":"8.00"}}}')
    await reconciler.turn(NAMESPACE, name, Memory())
    pod = await the_pod(cluster, f"{name}-pre-1-head")
    assert pod["spec"]["activeDeadlineSeconds"] == 13 * 60 - 85
    with pytest.raises(ApiError, match="422"):
        await cluster.shorten_pod(NAMESPACE, pod["metadata"]["name"], pod["metadata"]["uid"], 86400)
    await end_at_its_deadline(cluster, pod, begin)
    reconciler = Reconciler(cluster, lambda: begin + timedelta(hours=2), "jobs:1")
    for _ in range(5):
        await reconciler.turn(NAMESPACE, name, Memory())
    job = await cluster.get(JOBS, NAMESPACE, name)
    status = JobStatus.model_validate((job or {})["status"])
    assert (status.ledger.total_micro_usd, status.stages[0].state) == (7_800_000, "Suspended")
    assert status.stages[0].message.startswith("BudgetExceeded")
    assert await cluster.get("api/v1/pods", NAMESPACE, f"{name}-pre-2-head") is None
    await remove(cluster, name)


async def the_pod(cluster: KubernetesCluster, name: str) -> dict[str, Any]:
    found = await cluster.get("api/v1/pods", NAMESPACE, name)
    assert found is not None
    return found


async def end_at_its_deadline(cluster: KubernetesCluster, pod: dict[str, Any], begin: datetime) -> None:
    """A kubelet that takes the pod after 9 s, and needs the whole grace and 14 s more to end it."""
    name = pod["metadata"]["name"]
    target = {"apiVersion": "v1", "kind": "Node", "name": "far"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    await cluster._send("POST", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/binding", binding)
    taken = begin + timedelta(seconds=9)
    late = pod["spec"]["activeDeadlineSeconds"] + pod["spec"]["terminationGracePeriodSeconds"] + 14
    ended = {
        "exitCode": 75,
        "startedAt": format_time(taken),
        "finishedAt": format_time(taken + timedelta(seconds=late)),
    }
    container = {"name": "stage", "image": "i", "imageID": "i", "ready": False, "restartCount": 0}
    status = {
        "phase": "Failed",
        "reason": "DeadlineExceeded",
        "startTime": format_time(taken),
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(begin)}],
        "containerStatuses": [container | {"state": {"terminated": ended}}],
    }
    await cluster.replace("api/v1/pods", NAMESPACE, name, {**await the_pod(cluster, name), "status": status}, "status")


BUDGET: dict[str, Any] = {
    "apiVersion": "llmtrain.dev/v1alpha1",
    "kind": "TrainingBudget",
    "metadata": {"name": "research", "namespace": "default"},
    "spec": {"limitUsd": "25000"},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "negative limit": ({"limitUsd": "-1"}, "spec.limitUsd"),
    "a number": ({"limitUsd": 25000}, "spec.limitUsd"),
    "no limit": ({"limitUsd": None}, "spec.limitUsd"),
    "period": ({"period": "Week"}, '"Month", "Quarter", "Year", "Total"'),
    "breach": ({"onBreach": "Explode"}, '"Suspend", "Fail", "Warn"'),
    "operator without values": (
        {"jobSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": []}]}},
        "`values` must be set where `operator` is 'In' or 'NotIn'",
    ),
}


def test_a_budget_is_stored_with_its_defaults(api: Api) -> None:
    api.apply(BUDGET)
    stored = api.get("trainingbudget", "research")["spec"]
    assert (stored["period"], stored["onBreach"], stored["warnAtShare"]) == ("Month", "Suspend", [])
    assert "25000" in api.run("get", "trainingbudgets").stdout


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_bad_budget_is_refused_with_the_field_and_what_is_allowed(case: str, api: Api) -> None:
    change, expected = REFUSED[case]
    assert expected in api.direct.refusal({**BUDGET, "spec": BUDGET["spec"] | change})

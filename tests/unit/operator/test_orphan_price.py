"""What a pod costs whose job is gone: by its plan and its requests, whatever its annotation and its neighbours say."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from llmtrain_operator.client import ApiError
from llmtrain_operator.orphanprice import orphan
from llmtrain_operator.orphans import PODS, former_job
from llmtrain_operator.pricing import Plan
from llmtrain_operator.recent import PLANS
from llmtrain_operator.reconcile import JOBS

from tests.unit.operator.booked import booked_micro_usd, bookings
from tests.unit.operator.scenario import Scenario, recorded_micro_usd
from tests.unit.operator.test_operator_health import orphaned, sweep

PRICE = "llmtrain.dev/price"


def plan(**rented: str) -> Plan:
    accelerator = {"product": "MI300X", "resourceName": "amd.com/gpu"}
    spec = {"tenure": "Rented", "accelerator": accelerator, "rented": rented}
    return Plan.read({"metadata": {"name": "p", "resourceVersion": "1"}, "spec": spec})


def pod(requests: dict[str, Any], *others: Any) -> dict[str, Any]:
    mine = {"name": "stage", "resources": {"requests": requests}}
    return {"metadata": {}, "spec": {"containers": [*others, mine]}}


@pytest.mark.parametrize(
    ("requests", "accelerators", "micro_usd"),
    [
        ({"cpu": "8", "memory": "16Gi", "amd.com/gpu": "4"}, 4, 8_000_000 + 8 * 10_000 + 16 * 1_000),
        ({"cpu": "500m", "memory": "512Mi"}, 0, 5_000 + 500),
        ({"amd.com/gpu": 2, "nvidia.com/gpu": "8", "rdma/hca": "2k"}, 2, 4_000_000),
        ({}, 0, 0),
    ],
)
def test_the_plans_resource_counts_and_is_priced(requests: dict[str, Any], accelerators: int, micro_usd: int) -> None:
    sidecar = {"name": "proxy", "resources": {"requests": {"cpu": "100", "amd.com/gpu": "8"}}}
    found = orphan(
        pod(requests, sidecar, {}), "p", plan(acceleratorHourUsd="2", cpuHourUsd="0.01", memoryGibHourUsd="0.001")
    )
    assert (found.accelerators, found.price.microUsdPerHour, found.doubt) == (accelerators, micro_usd, "")


def test_what_cannot_be_priced_costs_nothing_and_says_why() -> None:
    gone = orphan(pod({"cpu": "1"}), "p", None)
    assert (gone.price.plan, gone.price.microUsdPerHour, gone.doubt) == (
        "p", 0, "is booked at no cost: ComputePlan `p` is not there, or cannot be read",
    )  # fmt: skip
    odd = orphan(pod({"amd.com/gpu": "many"}), "p", plan(acceleratorHourUsd="2"))
    assert odd.price.microUsdPerHour == 0
    assert "'many' is no quantity" in odd.doubt
    assert orphan(pod({"cpu": "9" * 18}), "p", plan(cpuHourUsd="9")).price.microUsdPerHour == 10**11


@pytest.mark.parametrize("forged", [-5_000_000_000_000, 0, 1, 10**11])
async def test_an_edited_annotation_changes_no_bill(forged: int) -> None:
    run = await orphaned()
    bill_of(run)
    for name in run.pods:
        meta = run.cluster.pod(name)["metadata"]
        price = json.loads(meta["annotations"][PRICE])
        meta["annotations"][PRICE] = json.dumps(price | {"microUsdPerHour": forged, "minimumSeconds": 0})
    prices = {name: json.loads(run.cluster.pod(name)["metadata"]["annotations"][PRICE]) for name in run.pods}
    await sweep(run, 5)
    assert run.pods == []
    if forged < 0:
        assert booked_micro_usd(run.cluster) == 0, "an annotation out of bounds names no plan"
        return
    exact = 0
    for body in run.cluster.final_pods.values():
        meta = body["metadata"]
        if meta["name"] in prices:
            meta["annotations"][PRICE] = TRUE[meta["name"]]
            exact += 1
    assert exact == 3
    run.cluster.final_pods = {uid: b for uid, b in run.cluster.final_pods.items() if b["metadata"]["name"] in prices}
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster) > 0


TRUE: dict[str, str] = {}


def bill_of(run: Scenario) -> None:
    """The annotations as the operator wrote them, by pod."""
    TRUE.clear()
    TRUE.update({name: run.cluster.pod(name)["metadata"]["annotations"][PRICE] for name in run.pods})


async def test_a_plan_that_is_gone_is_told_and_its_pods_go_with_their_seconds() -> None:
    run = await orphaned()
    del run.cluster.objects[(PLANS, "", "gpu")]
    await sweep(run, 5)
    assert run.pods == []
    rows = [row for booking in bookings(run.cluster) for row in booking["rows"]]
    assert [row for row in rows if row["plan"] == "gpu"]
    assert all(row.get("costMicroUsd", 0) == 0 and row["podSeconds"] > 0 for row in rows if row["plan"] == "gpu")
    events = [one for one in run.cluster.of("api/v1/events") if one["reason"] == "OrphanUnpriced"]
    assert all("ComputePlan `gpu` is not there" in event["message"] for event in events)
    assert events


async def test_pods_whose_owner_was_taken_off_before_their_job_went_are_ended_and_booked() -> None:
    run = await orphaned()
    for name in run.pods:
        run.cluster.pod(name)["metadata"].pop("ownerReferences")
    mine = {run.cluster.pod(name)["metadata"]["uid"] for name in run.pods}
    await sweep(run, 5)
    assert run.pods == []
    run.cluster.final_pods = {uid: body for uid, body in run.cluster.final_pods.items() if uid in mine}
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster) > 0
    assert {booking["kind"] for booking in bookings(run.cluster)} == {"Pod"}
    assert not run.cluster.of(JOBS)


@pytest.mark.parametrize(
    "labels", [{"llmtrain.dev/index": "1"}, {"llmtrain.dev/job": "other"}, {"llmtrain.dev/job-uid": ""}]
)
async def test_a_pod_without_owner_whose_labels_say_otherwise_than_its_name_is_nobodys(labels: dict[str, str]) -> None:
    run = await orphaned()
    body = run.cluster.pod(next(name for name in run.pods if "-w0-" in name))
    assert former_job(body) is not None
    body["metadata"].pop("ownerReferences")
    assert former_job(body) is not None
    body["metadata"]["labels"] |= labels
    assert former_job(body) is None


async def test_a_pod_is_booked_once_though_its_deletion_moves_into_the_month_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is stored is when its grace is over; its kubelet, which is done before, sets that to then."""
    run = await orphaned()
    run.cluster.now = datetime(2026, 3, 31, 23, 59, 30, tzinfo=UTC)
    for name in run.pods:
        await run.cluster.delete(PODS, "team-a", name, "", 60)
    run.cluster.tick(5)
    for name in run.pods:
        run.cluster.end_pod(name, 75)
        assert run.cluster.pod(name)["metadata"]["deletionTimestamp"][:7] == "2026-03"
        run.cluster.pod(name)["metadata"]["deletionTimestamp"] = "2026-04-01T00:00:30Z"
    real = run.cluster.replace_finalizers

    async def refuse(*_: Any) -> None:
        raise ApiError(500, "InternalError", "away")

    monkeypatch.setattr(run.cluster, "replace_finalizers", refuse)
    await sweep(run)
    for name in run.pods:
        run.cluster.pod(name)["metadata"]["deletionTimestamp"] = "2026-03-31T23:59:35Z"
    monkeypatch.setattr(run.cluster, "replace_finalizers", real)
    await sweep(run)
    assert run.pods == []
    assert sorted(one["uid"] for one in bookings(run.cluster)) == sorted({one["uid"] for one in bookings(run.cluster)})
    assert len(bookings(run.cluster)) == 3

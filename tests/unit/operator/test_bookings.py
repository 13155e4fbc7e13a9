"""What the ledger keeps of a deleted job's waste: by node and by cause as its status had it, bounded, and the same sum."""

import json
from typing import Any

import pytest
from llmtrain_operator.bookings import booking_of_job
from llmtrain_operator.border import Rejections
from llmtrain_operator.namespace_ledger import fits
from llmtrain_operator.observe import read_job
from llmtrain_operator.reconcile import JOBS

from llmtrain.ledger.document import LARGEST_BYTES, MonthPage, text_of
from llmtrain.ledger.waste import By, Wasted, wasted
from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.scenario import Scenario

CONFIG_MAPS, DELETED = "api/v1/configmaps", "2026-03-02T00:00:00Z"
SPLIT = {"waiting": 30, "working": 60, "minimum": 10}


def told(cluster: FakeCluster, by: By) -> list[Wasted]:
    kinds = {JOBS: "LLMTrainingJob", CONFIG_MAPS: "ConfigMap"}
    found = [{**body, "kind": kinds[kind]} for (kind, _, _), body in cluster.objects.items() if kind in kinds]
    return wasted(found, by)


async def test_a_job_that_is_deleted_tells_its_waste_as_before() -> None:
    run = Scenario()
    await run.run_training(60)
    run.job["spec"]["suspend"] = True
    await run.drain()
    await run.turn(2)
    before = {by: told(run.cluster, by) for by in By}
    assert {row.name for row in before[By.NODE]} == {"node-1"}
    assert {"Start", "Completed", "Suspended"} <= {row.name for row in before[By.CAUSE]}
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    while run.cluster.of(JOBS):
        await run.drain_step()
    assert {by: told(run.cluster, by) for by in By} == before


def job(nodes: list[dict[str, Any]], causes: list[dict[str, Any]], uid: str = "u1") -> dict[str, Any]:
    one = {"stage": "Training", "role": "worker", "plan": "gpu", "tenure": "Rented", "pods": 1, "podSeconds": 90,
           "billedSeconds": 100, "costMicroUsd": 1000, "split": SPLIT, "month": "2026-03",
           "costSplit": {"waiting": 300, "working": 600, "minimum": 100}}  # fmt: skip
    ledger = {"entries": [one], "wasteByNode": nodes, "wasteByCause": causes}
    meta = {"name": "gpt", "namespace": "team-a", "uid": uid, "deletionTimestamp": DELETED}
    return {"metadata": meta, "spec": {}, "status": {"ledger": ledger}}


def row(key: str, name: str, seconds: int, micro: int) -> dict[str, Any]:
    return {key: name, "billedSeconds": seconds, "costMicroUsd": micro}


@pytest.mark.parametrize(
    ("nodes", "kept"),
    [
        ([row("node", "a", 30, 300), row("node", "", 10, 100)], {"a": (30, 300), "": (10, 100)}),
        ([row("node", "a", 30, 300), row("node", "a", 10, 100)], {"a": (40, 400)}),
        ([row("node", "a", 30, 300), row("node", "No node at all", 10, 100)], {"a": (30, 300)}),
        ([row("node", "a", -30, 300), row("node", "b", 10, 2**60)], {}),
        ([], {}),
    ],
)
def test_rows_that_are_out_of_all_bounds_are_left_out_and_the_bill_is_booked(
    nodes: list[dict[str, Any]], kept: dict[str, tuple[int, int]]
) -> None:
    booking = booking_of_job(read_job(job(nodes, [])), Rejections())
    assert booking.waste_by_node == kept
    page = MonthPage(namespace="team-a", namespace_uid="n1", month="2026-03", page=1, bookings=[booking])
    assert MonthPage.model_validate_json(text_of(page)) == page
    assert [row.cost_micro_usd for row in booking.rows] == [1000]


def test_the_largest_waste_that_a_status_may_have_leaves_room_for_many_jobs_on_a_page() -> None:
    nodes = [
        row("node", f"ip-10-0-{number}-17.eu-west-1.compute.internal", 100 + number, 10**7) for number in range(64)
    ]
    causes = [row("cause", f"Reason{number}", 100 + number, 10**7) for number in range(32)]
    more = [
        booking_of_job(read_job(job([*nodes, row("node", "", 1, 1)], causes, f"u{number}")), Rejections())
        for number in range(100)
    ]
    page = MonthPage(namespace="team-a", namespace_uid="n1", month="2026-03", page=1)
    found = fits(page, more)
    size = len(text_of(page.model_copy(update={"bookings": found})))
    assert len(found) > 40
    assert size <= LARGEST_BYTES
    assert len(json.loads(text_of(page.model_copy(update={"bookings": found})))["bookings"][0]["wasteByNode"]) == 65

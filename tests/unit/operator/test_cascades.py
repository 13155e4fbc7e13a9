"""However a job is deleted, its pods are settled, ended and gone before it is, and nothing of it is left."""

from collections.abc import Mapping
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.memory import Memory
from llmtrain_operator.reconcile import JOBS

from tests.unit.operator.booked import booked_micro_usd
from tests.unit.operator.scenario import Scenario, recorded_micro_usd

OURS, PODS = "llmtrain.dev/ledger", "api/v1/pods"


async def bring_to(state: str) -> Scenario:
    """`created`: its pods were made in the last turn, and none was looked at since."""
    run = Scenario()
    await run.run_stage()
    if state == "stopping":
        await run.run_stage()
    await run.until_pods()
    if state == "created":
        return run
    await run.turn(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(60)
    await run.turn(2)
    if state == "stopping":
        run.job["spec"]["suspend"] = True
        await run.turn(2)
    return run


async def delete(run: Scenario, finalizer: str) -> None:
    """As kubectl asks for it, with the garbage collector's finalizer on it."""
    run.job["metadata"]["finalizers"] = [finalizer, OURS]
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)


def collected(run: Scenario, finalizer: str) -> None:
    """The collector is done with the job: its finalizer goes, and the job where it was the last."""
    body = run.cluster.objects.get((JOBS, "team-a", "gpt"))
    if body is not None:
        body["metadata"]["finalizers"] = [name for name in body["metadata"]["finalizers"] if name != finalizer]
        run.cluster._collect(JOBS, "team-a", "gpt")


def strip_owners(run: Scenario) -> None:
    for (_, space, name), body in run.cluster.objects.items():
        if space == "team-a" and name.startswith("gpt-"):
            body["metadata"].pop("ownerReferences", None)


async def until_gone(run: Scenario) -> None:
    for _ in range(90):
        if not run.cluster.of(JOBS):
            return
        await run.drain_step()
    raise AssertionError(f"still there: {run.job['metadata']} {run.pods}")


def nothing_left(run: Scenario) -> None:
    assert run.pods == []
    left = {kind for (kind, space, name) in run.cluster.objects if name.startswith("gpt-") and space == "team-a"}
    assert left <= {"api/v1/events"}
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("state", ["created", "running", "stopping"])
async def test_pods_that_lose_their_owner_are_settled_and_ended_by_the_job_that_made_them(
    state: str, restarted: bool
) -> None:
    run = await bring_to(state)
    await delete(run, "orphan")
    strip_owners(run)
    collected(run, "orphan")
    if restarted:
        run.memory = Memory()
    if state == "created":
        for name in run.pods:
            run.cluster.run_pod(name)
    await until_gone(run)
    nothing_left(run)
    reasons = {event["reason"] for event in run.cluster.of("api/v1/events")}
    assert "PodVanished" not in reasons


async def test_a_pod_that_the_bill_knows_stays_the_jobs_own_though_somebody_takes_its_owner_off() -> None:
    run = await bring_to("running")
    before = run.pods
    strip_owners(run)
    run.cluster.tick(30)
    await run.turn(3)
    assert run.pods == before
    assert len(run.status.ledger.high_water) == len(before)
    assert not [event for event in run.cluster.of("api/v1/events") if event["reason"] == "PodVanished"]


async def test_a_pod_that_only_looks_like_one_is_neither_ended_nor_billed() -> None:
    """Somebody's own, with all our labels and our finalizer, that no slot is for."""
    run = await bring_to("running")
    model = run.cluster.pod(next(name for name in run.pods if "-w0-" in name))
    labels = model["metadata"]["labels"] | {"llmtrain.dev/index": "7"}
    name = model["metadata"]["name"].replace("-w0-", "-w7-")
    meta = {"name": name, "namespace": "team-a", "labels": labels, "finalizers": ["llmtrain.dev/settle"]}
    run.cluster.add(PODS, {**model, "metadata": meta})
    await delete(run, "orphan")
    strip_owners(run)
    collected(run, "orphan")
    await until_gone(run)
    assert run.pods == [name]
    assert "deletionTimestamp" not in run.cluster.pod(name)["metadata"]
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster)


@pytest.mark.parametrize("late", [False, True], ids=["before", "between read and write"])
@pytest.mark.parametrize("state", ["created", "running", "stopping"])
async def test_a_foreground_deletion_ends_whenever_the_collector_is_done(
    state: str, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await bring_to(state)
    await delete(run, "foregroundDeletion")
    for kind in (PODS, "api/v1/configmaps", "api/v1/services", "api/v1/secrets"):
        for body in run.cluster.of(kind):
            if body["metadata"]["namespace"] == "team-a":
                await run.cluster.delete(kind, "team-a", body["metadata"]["name"], "", None)
    real = run.cluster.replace_finalizers

    async def replace(resource: str, seen: Mapping[str, Any], after: list[str]) -> Object | None:
        if resource == JOBS:
            collected(run, "foregroundDeletion")
        return await real(resource, seen, after)

    if late:
        monkeypatch.setattr(run.cluster, "replace_finalizers", replace)
    else:
        collected(run, "foregroundDeletion")
    await until_gone(run)
    nothing_left(run)


async def test_a_grace_of_years_keeps_no_pod_from_being_ended() -> None:
    """Whoever may delete a pod may say how long it has; what ignores its signal would be paid for until then."""
    run = await bring_to("running")
    for name in run.pods:
        await run.cluster.delete(PODS, "team-a", name, "", 365 * 86400)
    run.job["spec"]["suspend"] = True
    run.memory.woken = True
    await run.turn(2)
    head, worker = (next(name for name in run.pods if part in name) for part in ("-head", "-w0-"))
    assert run.cluster.pod(head)["metadata"]["deletionGracePeriodSeconds"] == 60
    run.cluster.end_pod(head, 75)
    run.memory.woken = True
    await run.turn(2)
    assert run.cluster.pod(worker)["metadata"]["deletionGracePeriodSeconds"] == 5


async def test_a_deleted_job_without_our_finalizer_that_somebody_elses_keeps_is_ended_and_booked() -> None:
    run = await bring_to("running")
    await delete(run, "example.com/mine")
    run.job["metadata"]["finalizers"] = ["example.com/mine"]
    for _ in range(40):
        await run.drain_step()
    assert run.pods == []
    collected(run, "example.com/mine")
    await run.turn()
    nothing_left(run)


@pytest.mark.parametrize("refused", [True, False])
async def test_a_job_that_cannot_be_held_any_more_is_billed_and_can_be_suspended(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes our finalizer off again and again, or took it off once and the operator's right to put it back."""
    run = await bring_to("running")
    real = run.cluster.replace_finalizers

    async def no_hold(resource: str, *rest: Any) -> Any:
        if resource == JOBS and refused:
            raise ApiError(403, "Forbidden", "a policy says no")
        return await real(resource, *rest)

    monkeypatch.setattr(run.cluster, "replace_finalizers", no_hold)
    run.job["spec"]["suspend"] = True
    for _ in range(30):
        run.job["metadata"]["finalizers"] = []
        await run.drain_step()
    assert run.pods == []
    assert run.status.ledger.high_water == []
    assert sum(e.cost_micro_usd for e in run.status.ledger.entries) == recorded_micro_usd(run.cluster) > 0


async def test_nothing_is_created_for_a_job_that_is_not_held() -> None:
    run = await bring_to("running")
    made = len(run.cluster.pods_created)
    run.cluster.end_pod(next(name for name in run.pods if "-w0-" in name), 137, reason="Error")
    for _ in range(5):
        run.job["metadata"]["finalizers"] = []
        await run.drain_step()
    assert len(run.cluster.pods_created) == made
    await run.drain_step()
    for _ in range(5):
        await run.drain_step()
    assert len(run.cluster.pods_created) > made


GRACES = [2**31, 3_000_000_000, 10**10, 2**62, 2**63 - 1]
"""Seconds. The apiserver takes any; what it adds to the time turns around beyond 292 years, and may end before it began."""


@pytest.mark.parametrize("grace", GRACES)
async def test_a_grace_of_more_than_a_lifetime_is_shortened_like_one_of_years(grace: int) -> None:
    run = await bring_to("running")
    for name in run.pods:
        await run.cluster.delete(PODS, "team-a", name, "", grace)
    run.job["spec"]["suspend"] = True
    run.memory.woken = True
    await run.turn(2)
    assert deadline_of(run, "-head") == 60
    assert [event for event in run.cluster.of("api/v1/events") if event["reason"] == "InputRejected"] == []


@pytest.mark.parametrize("grace", GRACES)
async def test_a_placed_pod_that_is_deleted_with_such_a_grace_before_it_starts_owes_its_time(grace: int) -> None:
    run = await bring_to("created")
    for name in run.pods:
        run.cluster.place_pod(name)
    placed = run.cluster.now
    run.cluster.tick(30)
    await run.turn()
    for name in run.pods:
        await run.cluster.delete(PODS, "team-a", name, "", grace)
    for _ in range(3):
        run.memory.woken = True
        await run.turn()
        run.cluster.tick(5)
    for name in run.pods:
        run.cluster._mark_deleted(run.cluster.pod(name)["metadata"], 0)  # its kubelet is done with it
    for _ in range(3):
        run.memory.woken = True
        await run.turn()
    told = [entry.pod_seconds for entry in run.status.ledger.entries if entry.stage == "Curation"]
    assert len(told) == 2
    assert set(told) <= {30, int((run.cluster.now - placed).total_seconds())}


async def test_a_webhook_that_gives_pods_a_grace_of_years_keeps_none_of_them() -> None:
    run = await bring_to("running")
    for name in run.pods:
        run.cluster.pod(name)["spec"]["terminationGracePeriodSeconds"] = 3_000_000_000
        await run.cluster.delete(PODS, "team-a", name, "", 3_000_000_000)
    run.job["spec"]["suspend"] = True
    run.memory.woken = True
    await run.turn(2)
    assert deadline_of(run, "-head") == 3600


def deadline_of(run: Scenario, part: str) -> int:
    """Seconds that the pod has from when its end was asked for."""
    name = next(name for name in run.pods if part in name)
    return int(run.cluster.pod(name)["metadata"]["deletionGracePeriodSeconds"])

"""A job whose namespace goes, or whose release is refused in any way, is let go all the same, and its bill is told."""

import json
import logging
from typing import Any

import pytest
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.memory import Memory
from llmtrain_operator.reconcile import JOBS

from tests.unit.operator.booked import HOME, booked_micro_usd, bookings
from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.scenario import Scenario, job_spec, recorded_micro_usd
from tests.unit.operator.test_operator_health import sweep

SPACE = "team-a"


async def bring_to(state: str) -> Scenario:
    run = Scenario(suspend=True) if state == "suspended" else Scenario()
    if state == "finished":
        for _ in range(4):
            await run.run_stage()
    elif state == "running":
        await run.run_stage()
        await run.until_pods()
        await run.turn(2)
        for name in run.pods:
            run.cluster.run_pod(name)
        run.cluster.tick(60)
    await run.turn(3)
    return run


async def delete_namespace(run: Scenario) -> None:
    """What the namespace controller does: nothing is made there any more, everything there is deleted."""

    def refuse(resource: str, body: Object) -> ApiError | None:
        if body["metadata"].get("namespace") != SPACE:
            return None
        words = f"unable to create new content in namespace {SPACE} because it is being terminated"
        return ApiError(403, "Forbidden", words)

    cluster = run.cluster
    cluster.refuse = refuse
    cluster.objects[("api/v1/namespaces", "", SPACE)]["metadata"]["deletionTimestamp"] = "2026-03-01T13:00:00Z"
    for kind, space, name in list(cluster.objects):
        if space == SPACE and kind in ("api/v1/configmaps", "api/v1/secrets", "api/v1/services"):
            del cluster.objects[(kind, space, name)]
    await cluster.delete(JOBS, SPACE, "gpt", "", None)
    for name in run.pods:
        await cluster.delete("api/v1/pods", SPACE, name, "", None)


def events(cluster: FakeCluster) -> list[Object]:
    return [body for (kind, space, _), body in cluster.objects.items() if (kind, space) == ("api/v1/events", "default")]


async def until_gone(run: Scenario, seconds: int) -> None:
    for _ in range(seconds):
        if not run.cluster.of(JOBS):
            return
        await run.drain_step()
    raise AssertionError(f"the job is still there after {seconds} s: {run.job}")


@pytest.mark.parametrize("state", ["running", "suspended", "finished"])
async def test_a_namespace_that_is_deleted_ends_within_its_pods_grace_and_is_booked(
    state: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = await bring_to(state)
    await delete_namespace(run)
    await until_gone(run, 60)
    assert run.pods == []
    bill = recorded_micro_usd(run.cluster)
    assert booked_micro_usd(run.cluster) == bill
    assert (bill > 0) is (state != "suspended")
    (event,) = events(run.cluster)
    words = f"job gpt cost {bill / 1e6:.6f} USD, booked in 2026-03 in namespace {HOME}"
    assert (event["message"], event["type"], event["reason"]) == (words, "Normal", "JobBooked")
    about = {"apiVersion": "v1", "kind": "Namespace", "name": SPACE, "uid": f"uid-of-{SPACE}"}
    assert event["involvedObject"] == about
    assert f"{SPACE}/gpt: {words}" in caplog.messages


async def test_an_ordinary_deletion_tells_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run = await bring_to("finished")
    await run.cluster.delete(JOBS, SPACE, "gpt", "", None)
    await until_gone(run, 10)
    assert events(run.cluster) == []
    assert any(message.startswith(f"{SPACE}/gpt: job gpt cost ") for message in caplog.messages)


async def test_what_is_booked_says_whose_it_was_when_it_ran_and_on_what_it_was_spent() -> None:
    run = await bring_to("finished")
    run.job["metadata"]["labels"] = {"cost-center": "42", "llmtrain.dev/x": "ours"}
    ledger = run.status.ledger
    await run.cluster.delete(JOBS, SPACE, "gpt", "", None)
    uid = run.job["metadata"]["uid"]
    await until_gone(run, 10)
    (booking,) = bookings(run.cluster)
    assert {key: booking[key] for key in ("kind", "uid", "jobUid", "job", "labels")} == {
        "kind": "Job", "uid": uid, "jobUid": uid, "job": "gpt", "labels": {"cost-center": "42"},
    }  # fmt: skip
    assert booking["deleted"].startswith("2026-03-01T")
    rows = {(row["stage"], row["role"]): row for row in booking["rows"]}
    for entry in ledger.entries:
        row = rows[entry.stage.value, entry.role]
        told = (row["pods"], row["podSeconds"], row["billedSeconds"], row.get("costMicroUsd", 0))
        assert told == (entry.pods, entry.pod_seconds, entry.billed_seconds, entry.cost_micro_usd)
        assert sum(row.get("split", {}).values()) == entry.billed_seconds
        assert row["startTime"] < row["endTime"]


def refusing(run: Scenario, code: int, words: str) -> None:
    """The operator's namespace takes nothing."""

    def refuse(resource: str, body: Object) -> ApiError | None:
        in_home = resource == "api/v1/configmaps" and body["metadata"].get("namespace") == HOME
        return ApiError(code, "", words) if in_home else None

    run.cluster.refuse = refuse


@pytest.mark.parametrize("code", [403, 422, 500])
async def test_a_ledger_that_takes_nothing_for_good_is_waited_for_and_told_then_the_job_goes(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    run = await bring_to("finished")
    bill = recorded_micro_usd(run.cluster)
    refusing(run, code, "exceeded quota: count/configmaps")
    await run.cluster.delete(JOBS, SPACE, "gpt", "", None)
    for _ in range(36):
        await run.turn()
        run.cluster.tick(15)
    assert run.cluster.of(JOBS), "it is not given up at once"
    waits = [one for one in run.status.conditions if "exceeded quota" in one.message]
    assert waits, "people are told what it waits for"
    for _ in range(20):
        if run.cluster.of(JOBS):
            await run.turn()
        run.cluster.tick(15)
    assert run.cluster.of(JOBS) == []
    (event,) = events(run.cluster)
    assert (event["type"], event["reason"]) == ("Warning", "JobNotBooked")
    assert f"{bill / 1e6:.6f} USD, which are in no ledger" in event["message"]
    (line,) = [message for message in caplog.messages if "in no ledger" in message]
    rows = json.loads(line[line.index("; {") + 2 :])["rows"]
    assert sum(row["costMicroUsd"] for row in rows) == bill, "the log has all that would have been booked"


async def test_a_ledger_whose_own_namespace_goes_is_not_waited_for() -> None:
    run = await bring_to("finished")
    refusing(run, 403, "unable to create new content in namespace default because it is being terminated")
    await run.cluster.delete(JOBS, SPACE, "gpt", "", None)
    await until_gone(run, 10)


async def test_an_apiserver_that_does_not_answer_is_waited_for_however_long() -> None:
    run = await bring_to("finished")
    refusing(run, 0, "no answer")
    await run.cluster.delete(JOBS, SPACE, "gpt", "", None)
    for _ in range(100):
        await run.turn()
        run.cluster.tick(15)
    assert run.cluster.of(JOBS)
    run.cluster.refuse = lambda resource, body: None
    run.cluster.tick(60)
    await until_gone(run, 60)
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster)


@pytest.mark.parametrize("verb", ["find", "get", "replace"])
@pytest.mark.parametrize("code", [403, 404])
async def test_reservations_that_cannot_be_ended_do_not_hold_a_job(
    verb: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Scenario()
    run.cluster.add(BUDGETS, {"metadata": {"name": "b", "namespace": SPACE}, "spec": {"limitUsd": "1000000"}})
    await run.run_stage()
    await run.turn(3)
    await run.drain()
    real = getattr(run.cluster, verb)

    async def gone(resource: str, *rest: Any, **more: Any) -> Any:
        if resource == BUDGETS:
            raise ApiError(code, "", "the CRD or the right is gone")
        return await real(resource, *rest, **more)

    await run.cluster.delete(JOBS, SPACE, "gpt", "", None)
    monkeypatch.setattr(run.cluster, verb, gone)
    await until_gone(run, 60)
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster)


async def test_a_job_whose_status_somebody_edited_out_of_bounds_goes_all_the_same() -> None:
    run = await bring_to("finished")
    entries = run.job["status"]["ledger"]["entries"]
    entries[0]["costMicroUsd"] = 2**70
    kept = sum(entry.get("costMicroUsd", 0) for entry in entries[1:])
    await run.cluster.delete(JOBS, SPACE, "gpt", "", None)
    await until_gone(run, 20)
    assert booked_micro_usd(run.cluster) == kept


@pytest.mark.parametrize("seen", [True, False], ids=["before it goes", "with the job"])
async def test_what_a_job_has_spent_is_booked_though_somebody_takes_our_finalizer_off(seen: bool) -> None:
    """Its pods are the sweep's; what was settled before stands nowhere else."""
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    await run.turn(3)
    due = recorded_micro_usd(run.cluster)
    run.job["metadata"]["finalizers"] = []
    if seen:
        await run.turn()
        run.job["metadata"]["finalizers"] = []
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    run.memory.job.hear("99999", None)
    assert (await run.turn()).gone
    assert [(one["kind"], one["deleted"][:7]) for one in bookings(run.cluster)] == [("Job", "2026-03")]
    assert booked_micro_usd(run.cluster) == due > 0
    assert (await run.turn()).gone
    assert len(bookings(run.cluster)) == 1


async def test_a_pod_whose_bill_is_written_when_its_job_is_stripped_is_not_booked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Scenario()
    await run.run_training(100)
    real = run.cluster.replace_finalizers

    async def refuse(resource: str, *rest: Any) -> Any:
        if resource == "api/v1/pods":
            raise ApiError(500, "InternalError", "away")
        return await real(resource, *rest)

    monkeypatch.setattr(run.cluster, "replace_finalizers", refuse)
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    run.memory.woken = True
    await run.turn(2)
    assert run.status.ledger.settled
    monkeypatch.setattr(run.cluster, "replace_finalizers", real)
    del run.cluster.objects[(JOBS, "team-a", "gpt")]
    run.memory.job.hear("99999", None)
    await run.turn()
    run.cluster.tick(100)
    await sweep(run, 6)
    assert run.pods == []
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster) > 0


async def test_a_job_made_anew_under_the_same_name_inherits_no_bill() -> None:
    run = Scenario()
    await run.until_pods()
    run.cluster.run_pod(run.pods[0])
    await run.turn(2)
    run.cluster.tick(2)
    await run.turn()
    assert run.memory.pods.marks
    del run.cluster.objects[(JOBS, "team-a", "gpt")]
    run.cluster.add(JOBS, {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "LLMTrainingJob", "spec": job_spec(),
                           "metadata": {"name": "gpt", "namespace": "team-a"}})  # fmt: skip
    outlook = await run.turn()
    assert (outlook.gone, outlook.anew) == (True, True)
    run.memory = Memory()
    await run.turn(3)
    assert run.status.ledger.entries == []


async def test_a_time_that_the_ledger_cannot_hold_costs_no_bill() -> None:
    """Another version, or a hand, wrote it."""
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    run.job["status"]["stages"][1] |= {"startTime": "2026-03-01T12:00:00.5Z", "completionTime": "yesterday"}
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    for _ in range(20):
        if run.cluster.of(JOBS):
            await run.drain_step()
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster) > 0
    rows = {row["stage"]: row for row in bookings(run.cluster)[0]["rows"]}
    assert rows["Curation"]["startTime"] == "2026-03-01T12:00:00Z"
    assert "endTime" not in rows["Curation"]


async def test_a_job_is_not_booked_while_jobs_are_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """An apiserver that has just started finds none of them; what is booked once is not booked again when the job goes."""
    run = Scenario()
    await run.run_stage()
    get, listed = run.cluster.get, run.cluster.list_metadata

    async def no_get(resource: str, *rest: Any) -> Object | None:
        return None if resource == JOBS else await get(resource, *rest)

    async def no_list(resource: str, *rest: Any) -> list[Object]:
        if resource == JOBS:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return await listed(resource, *rest)

    monkeypatch.setattr(run.cluster, "get", no_get)
    monkeypatch.setattr(run.cluster, "list_metadata", no_list)
    run.memory.job.forget()
    assert (await run.turn()).gone
    assert bookings(run.cluster) == []

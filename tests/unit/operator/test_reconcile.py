"""The life of a job against the fake cluster."""

import pytest
from llmtrain_operator.act import NETWORK_POLICIES
from llmtrain_operator.client import ApiError, Object, is_older
from llmtrain_operator.memory import Memory
from llmtrain_operator.reconcile import JOBS, Outlook

from tests.unit.operator.booked import booked_micro_usd
from tests.unit.operator.scenario import Scenario, recorded_micro_usd


async def finish(run: Scenario) -> None:
    for _ in range(12):
        if run.status.state == "Succeeded":
            return
        await run.run_stage()


async def test_a_job_goes_through_its_stages_and_leaves_no_pod() -> None:
    run = Scenario()
    await finish(run)
    assert run.status.state == "Succeeded"
    assert run.pods == []
    assert [stage.attempt for stage in run.status.stages] == [1, 1, 1, 1]
    assert run.status.ledger.settled == []


async def test_the_ledger_equals_the_recorder_to_the_microdollar() -> None:
    run = Scenario()
    await finish(run)
    entries = run.status.ledger.entries
    assert sum(e.cost_micro_usd for e in entries) == recorded_micro_usd(run.cluster) > 0
    assert sum(e.pods for e in entries) == len(run.cluster.pods_created)


async def test_no_stage_asks_for_pods_before_the_last_ones_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()
    seen: list[set[str]] = []
    create = run.cluster.create

    async def watch(resource: str, namespace: str, body: dict[str, object]) -> dict[str, object]:
        answer = await create(resource, namespace, body)
        stages = {pod["metadata"]["labels"]["llmtrain.dev/stage"] for pod in run.cluster.of("api/v1/pods")}
        seen.append(stages)
        return answer

    monkeypatch.setattr(run.cluster, "create", watch)
    await finish(run)
    assert max(len(stages) for stages in seen) == 1


async def test_suspension_saves_first_then_costs_nothing_and_resumes() -> None:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    await run.turn(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(30)
    run.job["spec"]["suspend"] = True
    await run.turn(2)
    stopping = [p["metadata"]["name"] for p in run.cluster.of("api/v1/pods") if "deletionTimestamp" in p["metadata"]]
    assert stopping == ["gpt-trn-1-head"]
    await run.drain()
    assert (run.status.state, run.pods) == ("Suspended", [])
    spent = run.status.ledger.total_micro_usd
    run.cluster.tick(3600)
    await run.turn()
    assert run.status.ledger.total_micro_usd == spent
    run.job["spec"]["suspend"] = False
    while not run.pods:
        await run.turn()
    assert [c.message for c in run.status.conditions if "suspend" in c.message] == []
    await finish(run)
    assert run.status.state == "Succeeded"
    assert "gpt-trn-2-head" in run.cluster.pods_created


async def test_a_job_resumed_in_the_last_moment_of_its_suspension_starts_at_once() -> None:
    run = Scenario(suspend=True)
    run.job["spec"]["suspend"] = False
    await run.turn(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.job["spec"]["suspend"] = True
    while run.pods:
        await run.drain_step()
    run.job["spec"]["suspend"] = False
    assert run.status.state == "Stopping"
    outlook = Outlook(0)
    for _ in range(6):
        assert outlook.seconds <= 1, "nobody will wake this job"
        outlook = await run.turn()
        if run.pods:
            break
    assert run.pods == ["gpt-pre-2-head"]


async def test_what_was_created_is_deleted_without_being_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()
    asked: list[str] = []
    get = run.cluster.get

    async def counting(resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        asked.append(resource)
        return await get(resource, namespace, name, not_before)

    monkeypatch.setattr(run.cluster, "get", counting)
    await run.run_stage()
    assert not {"api/v1/services", NETWORK_POLICIES} & {*asked}
    assert not run.cluster.of("api/v1/services")
    run.memory = Memory()
    await run.turn(2)
    run.memory = Memory()
    for name in run.pods:
        run.cluster.run_pod(name)
    run.end_head()
    await run.drain()
    assert {"api/v1/services", NETWORK_POLICIES} <= {*asked}, "after a restart nobody knows their uids"
    assert not run.cluster.of("api/v1/services")


async def test_a_dead_worker_is_replaced_in_place() -> None:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    await run.turn(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(30)
    run.cluster.end_pod("gpt-trn-1-w1-1", 137, reason="Error")
    await run.turn(3)
    assert run.pods == ["gpt-trn-1-head", "gpt-trn-1-w0-1", "gpt-trn-1-w1-2"]


async def test_a_dead_head_ends_the_attempt_and_the_next_one_starts_after_all_pods_are_gone() -> None:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    await run.turn(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(30)
    run.cluster.end_pod("gpt-trn-1-head", 137, reason="Error")
    await run.drain()
    await run.turn(3)
    assert run.pods == ["gpt-trn-2-head", "gpt-trn-2-w0-1", "gpt-trn-2-w1-1"]
    assert run.status.stages[2].failures == 0


async def test_bad_input_fails_at_once_and_keeps_the_bill() -> None:
    run = Scenario()
    await run.turn(3)
    run.cluster.run_pod("gpt-pre-1-head")
    run.cluster.tick(7)
    message = '{"outcome": "Failed", "failureClass": "BadInput", "message": "spec.curation.sources: no file matches"}'
    run.cluster.end_pod("gpt-pre-1-head", 64, message)
    await run.drain()
    condition = next(c for c in run.status.conditions if c.type == "Succeeded")
    assert (condition.status, condition.reason) == ("False", "BadInput")
    assert "no file matches" in condition.message
    assert run.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster) > 0
    assert run.pods == []


async def test_an_unschedulable_cluster_waits_with_the_schedulers_reason() -> None:
    run = Scenario(startDeadlineSeconds=20, retry={"limit": 0})
    await run.turn(3)
    pod = run.cluster.pod("gpt-pre-1-head")
    why = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: Insufficient cpu",
    }
    pod["status"]["conditions"] = [why]
    await run.turn()
    assert run.status.waiting is not None
    assert "Insufficient cpu" in run.status.waiting.message
    run.cluster.tick(21)
    await run.drain()
    condition = next(c for c in run.status.conditions if c.type == "Progressing")
    assert (condition.status, condition.reason) == ("False", "Unschedulable")
    assert (run.status.state, run.status.stages[0].attempt, run.status.ledger.total_micro_usd) == ("Running", 1, 0)


async def test_a_refused_pod_is_told_in_the_condition() -> None:
    run = Scenario()
    refusal = ApiError(403, "Forbidden", 'exceeded quota: gpus, requested: nvidia.com/gpu="1"')
    run.cluster.refuse = lambda resource, body: refusal if resource == "api/v1/pods" else None
    await run.turn(4)
    progressing = next(c for c in run.status.conditions if c.type == "Progressing")
    assert "exceeded quota" in progressing.message


@pytest.mark.parametrize("resource", ["api/v1/configmaps", "api/v1/secrets", "api/v1/services", "api/v1/pods"])
async def test_a_create_that_was_in_conflict_with_anothers_is_made_again(resource: str) -> None:
    run = Scenario()
    conflicts = iter([ApiError(409, "Conflict", "Operation cannot be fulfilled on resourcequotas")])
    run.cluster.refuse = lambda kind, body: next(conflicts, None) if kind == resource else None
    await run.turn(4)
    assert next(conflicts, None) is None
    assert run.cluster.of(resource)
    assert run.pods == ["gpt-pre-1-head"]


async def test_deletion_books_the_job_in_the_namespace_ledger_once() -> None:
    run = Scenario()
    await run.run_stage()
    await run.turn(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(10)
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    for _ in range(30):
        if not run.cluster.of(JOBS):
            break
        await run.drain_step()
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster) > 0
    assert run.pods == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_crash_at_any_write_changes_neither_the_bill_nor_the_pods(moment: str) -> None:
    reference = Scenario()
    await finish(reference)
    # Every third write, another third for each moment; all of them on a real apiserver in tests/long.
    first = 1 if moment == "before" else 2
    for number in range(first, reference.cluster.writes + 1, 3):
        run = Scenario()
        run.cluster.crash_at = (number, moment)
        await finish(run)
        assert run.crashes == 1, f"write {number} never came"
        assert run.status.state == "Succeeded", f"crash {moment} write {number}"
        assert sorted(run.cluster.pods_created) == sorted(reference.cluster.pods_created), f"write {number}"
        entries = run.status.ledger.entries
        assert sum(e.cost_micro_usd for e in entries) == recorded_micro_usd(run.cluster), f"write {number}"


def test_a_list_is_stale_when_an_older_one_of_its_kind_was_newer() -> None:
    assert is_older("99", "100")
    assert not any(is_older(version, than) for version, than in (("100", "100"), ("101", "100"), ("5", ""), ("", "5")))

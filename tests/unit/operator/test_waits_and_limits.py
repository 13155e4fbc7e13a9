"""A wait for a place beside a job's other limits: stall, run deadline, reservations, rules, and the head's own patience."""

import json

import pytest
from llmtrain_operator.budget_release import BUDGETS

from llmtrain.api.status import Progress
from tests.unit.operator.scenario import Scenario
from tests.unit.operator.test_life_cycle import in_training, say
from tests.unit.operator.test_start_deadline import HOUR, asked_for, failures, part_placed, pass_time, training
from tests.unit.operator.test_waiting import told, unschedulable


@pytest.mark.parametrize("unplaced", [True, False])
async def test_a_head_that_gave_up_waiting_is_judged_by_what_its_workers_lacked(unplaced: bool) -> None:
    """The operator was away for longer than its deadline. Workers that run and do not join are no matter of place."""
    run = await asked_for()
    part_placed(run, "-w1-" if unplaced else "none")
    await run.turn()
    run.cluster.tick(2000)
    words = {"outcome": "Failed", "failureClass": "Unavailable", "reason": "WorkersMissing", "message": "1 of 2 joined"}
    run.cluster.end_pod("gpt-trn-1-head", 69, json.dumps(words), "Error")
    await run.drain()
    record = run.status.history[-1]
    if unplaced:
        assert (record.reason, record.failure_class, record.held_seconds >= 2000) == ("Unschedulable", None, True)
        assert failures(run) == (0, 0, 0)
    else:
        assert (record.reason, record.failure_class, training(run).failures) == ("WorkersMissing", "Unavailable", 1)


async def test_pods_wait_for_each_other_longer_than_the_operator_does() -> None:
    run = await asked_for()
    config = run.cluster.objects[("api/v1/configmaps", "team-a", "gpt-trn-1-config")]["data"]["config.json"]
    assert json.loads(config)["waitForWorkersSeconds"] >= 2 * 600 + 240


async def test_a_job_that_waits_writes_its_reservation_no_more() -> None:
    run = Scenario(startDeadlineSeconds=600)
    team = {"limitUsd": "1000.00", "period": "Total"}
    run.cluster.add(BUDGETS, {"metadata": {"name": "team", "namespace": "team-a"}, "spec": team})
    await run.run_stage()
    await run.run_stage()
    await run.until_pods()
    for name in run.pods:
        unschedulable(run, name)
    await pass_time(run, HOUR)
    budget = run.cluster.objects[(BUDGETS, "team-a", "team")]
    version, writes = budget["metadata"]["resourceVersion"], run.cluster.writes
    await pass_time(run, 24 * HOUR, HOUR)
    budget = run.cluster.objects[(BUDGETS, "team-a", "team")]
    assert budget["metadata"]["resourceVersion"] == version
    assert budget["status"]["reservations"][0]["reservedMicroUsd"] > 0, "what it may spend stays its own"
    assert run.cluster.writes == writes, "and its status is written no more either"


async def test_a_job_of_an_older_operator_goes_on_with_its_times() -> None:
    """Its status says when the attempt began, not when pods were placed: they say so themselves."""
    run = await in_training(runDeadlineSeconds=2000)
    run.cluster.tick(1000)
    await run.turn()
    stage = run.job["status"]["stages"][2]
    stage["phases"].pop("placedTime", None)
    stage["phases"].pop("heldSince", None)
    run.cluster.tick(700)
    await run.turn()
    assert run.status.state == "Running"
    run.cluster.tick(300)
    await run.turn()
    assert run.status.state == "Stopping"
    await run.drain()
    assert run.status.history[-1].reason == "DeadlineExceeded"
    assert training(run).run_seconds >= 2000


async def test_a_head_that_waits_for_its_workers_is_not_taken_for_stalled() -> None:
    run = await asked_for(stallDeadlineSeconds=300)
    part_placed(run)
    for _ in range(9):
        run.cluster.tick(60)
        say(run, Progress(done=1, total=2, unit="workers", detail="waiting for workers"))
        await run.turn()
    assert run.status.state == "Running"
    assert told(run).reason == "Unschedulable"
    run.cluster.run_pod("gpt-trn-1-w1-1")
    say(run, Progress(done=1, total=2, unit="workers", detail="waiting for workers"))
    await run.turn()
    run.cluster.tick(290)
    say(run, Progress(done=1, total=2, unit="workers", detail="waiting for workers"))
    await run.turn()
    assert run.status.state == "Running", "its clock began when the last worker came"
    run.cluster.tick(20)
    say(run, Progress(done=1, total=2, unit="workers", detail="waiting for workers"))
    await run.turn()
    assert run.status.state == "Stopping"


async def test_only_a_rule_that_names_the_reason_ends_a_wait_that_costs_nothing() -> None:
    rules = [{"class": "NotStarted", "action": "Fail"}]
    run = await asked_for(retry={"rules": rules})
    for name in run.pods:
        unschedulable(run, name)
    await pass_time(run, HOUR)
    assert run.status.state == "Running"
    run.job["spec"]["retry"]["rules"] = [{"reason": "Unschedulable", "action": "Fail"}]
    await run.turn()
    await run.drain()
    assert run.status.state == "Failed"
    assert training(run).message.startswith("Unschedulable")

"""Evaluators beside a training: billed by role and plan, replaced, given up; never a reason for training to end."""

import json
from typing import Any

import pytest
from llmtrain_operator.client import ApiError
from llmtrain_operator.names import LABEL_ROLE
from llmtrain_operator.recent import PLANS

from llmtrain.api.stageconfig import Result, StageConfig
from llmtrain.api.status import Stage, StageState
from tests.unit.operator.scenario import Scenario, cluster, recorded_micro_usd
from tests.unit.operator.test_elastic import place

TRAINING = ["gpt-trn-1-head", "gpt-trn-1-w0-1", "gpt-trn-1-w1-1"]
EVALUATORS = ["gpt-trn-1-e0-1", "gpt-trn-1-e1-1"]


def evaluation(**during: Any) -> dict[str, Any]:
    size = {"replicas": 2, "cpu": "2", "memory": "3Gi"}
    beside = {"everyTokens": 1000, "planRef": {"name": "cpu"}, "evaluators": size} | during
    tasks = [{"name": "held-out", "perplexity": {}}]
    return {"cluster": cluster("gpu", 1, 1), "tasks": tasks, "duringTraining": beside}


async def in_training(**spec: Any) -> Scenario:
    """A job whose training has all its pods, running."""
    scenario = Scenario(**({"evaluation": evaluation()} | spec))
    await scenario.run_stage()
    await scenario.run_stage()
    while not scenario.pods:
        await scenario.turn()
        scenario.cluster.tick(1)
    await scenario.turn(2)
    for name in scenario.pods:
        scenario.cluster.run_pod(name)
    await scenario.turn(2)
    return scenario


def training(scenario: Scenario) -> Any:
    return next(stage for stage in scenario.status.stages if stage.name is Stage.TRAINING)


async def test_they_are_created_with_the_cluster_on_a_plan_of_their_own_and_without_accelerators() -> None:
    scenario = await in_training()
    assert scenario.pods == sorted([*TRAINING, *EVALUATORS])
    pod = scenario.cluster.pod("gpt-trn-1-e1-1")
    assert pod["metadata"]["labels"][LABEL_ROLE] == "evaluator"
    price = json.loads(pod["metadata"]["annotations"]["llmtrain.dev/price"])
    assert (price["plan"], price["microUsdPerHour"]) == ("cpu", 2 * 31611 + 3 * 4237)
    container = pod["spec"]["containers"][0]
    assert {"name": "LLMTRAIN_ROLE", "value": "evaluator"} in container["env"]
    assert {"name": "LLMTRAIN_INDEX", "value": "1"} in container["env"]
    assert "nvidia.com/gpu" not in container["resources"]["requests"]
    text = scenario.cluster.objects[("api/v1/configmaps", "team-a", "gpt-trn-1-config")]["data"]["config.json"]
    config = StageConfig.model_validate_json(text)
    assert config.evaluator_micro_usd_per_hour == 2 * 31611 + 3 * 4237
    head_and_workers = [
        scenario.cluster.pod(name)["metadata"]["annotations"]["llmtrain.dev/price"] for name in TRAINING
    ]
    whole = sum(json.loads(text)["microUsdPerHour"] for text in head_and_workers)
    assert config.micro_usd_per_hour == whole + 2 * config.evaluator_micro_usd_per_hour


async def test_other_stages_have_none() -> None:
    scenario = Scenario(evaluation=evaluation())
    await scenario.run_stage()
    await scenario.turn(3)
    assert scenario.pods == ["gpt-cur-1-head", "gpt-cur-1-w0-1"]


async def test_their_bill_is_an_entry_of_its_own_and_the_sum_is_the_recorder_s() -> None:
    scenario = await in_training()
    scenario.cluster.tick(100)
    scenario.end_head()
    await scenario.drain()
    entries = {
        (entry.role, entry.plan): entry for entry in scenario.status.ledger.entries if entry.stage is Stage.TRAINING
    }
    assert set(entries) == {("head", "gpu"), ("worker", "gpu"), ("evaluator", "cpu")}
    assert entries["evaluator", "cpu"].pods == 2
    assert entries["evaluator", "cpu"].cost_micro_usd > 0
    assert scenario.status.ledger.total_micro_usd == recorded_micro_usd(scenario.cluster)
    assert training(scenario).state is StageState.SUCCEEDED
    assert scenario.pods == []


async def test_one_that_ends_is_replaced_and_training_does_not_notice() -> None:
    scenario = await in_training()
    scenario.cluster.end_pod("gpt-trn-1-e0-1", 70)
    for _ in range(4):
        await scenario.turn()
        scenario.cluster.tick(1)
    assert scenario.pods == sorted([*TRAINING, "gpt-trn-1-e0-2", "gpt-trn-1-e1-1"])
    stage = training(scenario)
    assert (stage.attempt, stage.state, stage.failures, stage.worker_failures) == (1, StageState.RUNNING, 0, 0)


@pytest.mark.parametrize(("code", "pods"), [(70, 3), (64, 1)])
async def test_one_that_cannot_be_cured_is_given_up_and_training_goes_on(code: int, pods: int) -> None:
    scenario = await in_training(retry={"limit": 2})
    for _ in range(30):
        for name in [name for name in scenario.pods if "-e0-" in name]:
            if scenario.cluster.pod(name)["status"].get("phase") == "Pending":
                scenario.cluster.run_pod(name)
            elif scenario.cluster.pod(name)["status"].get("phase") == "Running":
                scenario.cluster.end_pod(name, code)
        await scenario.turn()
        scenario.cluster.tick(1)
    assert scenario.pods == sorted([*TRAINING, "gpt-trn-1-e1-1"])
    assert len([name for name in created(scenario) if "-e0-" in name]) == pods
    assert training(scenario).state is StageState.RUNNING
    assert "EvaluatorGivenUp" in reasons(scenario)


async def test_one_that_finds_no_node_waits_for_free_and_is_not_the_job_s_wait() -> None:
    scenario = await in_training(startDeadlineSeconds=60)
    scenario.cluster.end_pod("gpt-trn-1-e0-1", 70)
    for _ in range(3):
        await scenario.turn()
        scenario.cluster.tick(1)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}
    scenario.cluster.pod("gpt-trn-1-e0-2")["status"]["conditions"] = [condition]
    await scenario.turn()
    assert scenario.status.waiting is None
    scenario.cluster.tick(20_000)
    await scenario.turn(3)
    stage = training(scenario)
    assert (stage.state, stage.attempt, [slot.index for slot in stage.evaluators]) == (StageState.RUNNING, 1, [0, 1])
    assert "gpt-trn-1-e0-2" in scenario.pods
    place(scenario, "gpt-trn-1-e0-2")
    await scenario.turn()
    scenario.cluster.tick(50)
    await scenario.turn()
    assert "deletionTimestamp" not in scenario.cluster.pod("gpt-trn-1-e0-2")["metadata"]
    scenario.cluster.tick(20)
    await scenario.turn(3)
    stage = training(scenario)
    assert (stage.state, stage.attempt, [slot.index for slot in stage.evaluators]) == (StageState.RUNNING, 1, [1]), (
        "on a node it is paid for"
    )


async def test_one_that_the_apiserver_refuses_is_asked_for_again_while_training_runs() -> None:
    scenario = await in_training()
    full = ApiError(403, "Forbidden", "exceeded quota: cpus, requested: requests.cpu=2, used: requests.cpu=9")
    scenario.cluster.refuse = lambda resource, body: full if "-e0-2" in body["metadata"]["name"] else None
    scenario.cluster.end_pod("gpt-trn-1-e0-1", 70)
    for _ in range(60):
        await scenario.turn()
        scenario.cluster.tick(60)
    assert [slot.index for slot in training(scenario).evaluators] == [0, 1]
    assert scenario.status.waiting is None
    assert next(c for c in scenario.status.conditions if c.type == "Progressing").status == "True"
    scenario.cluster.refuse = lambda resource, body: None
    await scenario.turn(2)
    assert "gpt-trn-1-e0-2" in scenario.pods


async def test_a_plan_that_is_missing_blocks_the_start_and_names_the_field() -> None:
    scenario = Scenario(evaluation=evaluation(planRef={"name": "none"}))
    await scenario.run_stage()
    await scenario.run_stage()
    await scenario.turn(3)
    assert scenario.pods == []
    waiting = scenario.status.waiting
    assert waiting is not None
    assert waiting.reason == "PlanNotFound"
    assert "ComputePlan `none` of `evaluation.duringTraining` does not exist" in waiting.message
    scenario.cluster.add(
        PLANS,
        {
            "metadata": {"name": "none"},
            "spec": {"tenure": "Rented", "rented": {"cpuHourUsd": "0", "memoryGibHourUsd": "0"}},
        },
    )
    for _ in range(40):
        await scenario.turn()
        scenario.cluster.tick(1)
    assert set(EVALUATORS) <= set(scenario.pods)


async def test_early_stop_by_a_requirement_fails_the_job_and_takes_every_pod_down() -> None:
    scenario = await in_training()
    told = Result(outcome="Failed", failure_class="BelowThreshold", reason="EvaluationBelowThreshold",
                  message="held-out/bits_per_byte is 9", checkpoint="step-7")  # fmt: skip
    scenario.cluster.end_pod("gpt-trn-1-head", 78, json.dumps(told.to_dict()))
    await scenario.drain()
    stage = training(scenario)
    assert (stage.state, stage.attempt, stage.checkpoint) == (StageState.FAILED, 1, "step-7")
    assert "EvaluationBelowThreshold" in stage.message
    assert scenario.pods == []
    assert scenario.status.ledger.total_micro_usd == recorded_micro_usd(scenario.cluster)


def created(scenario: Scenario) -> set[str]:
    return {pod["metadata"]["name"] for pod in scenario.cluster.final_pods.values()} | set(scenario.pods)


def reasons(scenario: Scenario) -> set[str]:
    return {event["reason"] for event in scenario.cluster.of("api/v1/events")}


async def test_every_pod_s_longest_bill_with_its_evaluators_fits_the_budget_without_an_operator() -> None:
    scenario = await in_training(budget={"limitUsd": "3.00"})
    pods = [scenario.cluster.pod(name) for name in scenario.pods]
    assert len(pods) == 5
    deadlines = {pod["metadata"]["labels"][LABEL_ROLE]: pod["spec"]["activeDeadlineSeconds"] for pod in pods}
    assert deadlines["evaluator"] == deadlines["worker"] < 86400
    prices = [json.loads(pod["metadata"]["annotations"]["llmtrain.dev/price"])["microUsdPerHour"] for pod in pods]
    settled = sum(entry.cost_micro_usd for entry in scenario.status.ledger.entries)
    ends = [pod["spec"]["activeDeadlineSeconds"] + pod["spec"]["terminationGracePeriodSeconds"] for pod in pods]
    bills = sum(price * seconds / 3600 for price, seconds in zip(prices, ends, strict=True))
    assert 2_900_000 < settled + bills <= 3_000_000


async def test_one_that_the_budget_does_not_pay_again_is_given_up_and_training_goes_on() -> None:
    scenario = await in_training(budget={"limitUsd": "3.00"})
    scenario.cluster.end_pod("gpt-trn-1-e0-1", 70)
    spent = scenario.status.ledger.total_micro_usd
    # Nothing is left beyond what the pods that live may come to.
    scenario.job["spec"]["budget"]["limitUsd"] = f"{(spent + 1_000_000) / 1e6:.2f}"
    for _ in range(6):
        await scenario.turn()
        scenario.cluster.tick(1)
    stage = training(scenario)
    assert (stage.state, stage.attempt) == (StageState.RUNNING, 1)
    assert {name for name in scenario.pods if "-e0-" not in name} == {*TRAINING, "gpt-trn-1-e1-1"}
    alive = [scenario.cluster.pod(name) for name in scenario.pods]
    assert all(pod["spec"]["activeDeadlineSeconds"] >= 60 for pod in alive), "no pod is made to live for nothing"

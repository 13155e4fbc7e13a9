"""Why is it not running: the words, the resource, and the money, computed by hand."""

from typing import Any

from llmtrain_operator.client import ApiError
from llmtrain_operator.refusal import insufficient, quota_resource, reason_of

from llmtrain.api.status import Waiting
from tests.unit.operator.fake_cluster import stamp
from tests.unit.operator.scenario import Scenario, cluster

NO_GPU = (
    "0/8 nodes are available: 1 Insufficient cpu, 8 Insufficient nvidia.com/gpu. preemption: 0/8 nodes are available."
)


def told(run: Scenario) -> Waiting:
    assert run.status.waiting is not None
    return run.status.waiting


def unschedulable(run: Scenario, name: str, message: str = NO_GPU) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    run.cluster.pod(name)["status"]["conditions"] = [condition | {"lastTransitionTime": stamp(run.cluster.now)}]


async def training_of(workers: int, **spec: Any) -> Scenario:
    """A job whose training pods were just created."""
    run = Scenario(**spec)
    run.job["spec"]["training"]["cluster"] = cluster("gpu", workers, 1)
    await run.run_stage()
    await run.run_stage()
    while not run.pods:
        await run.turn()
    return run


async def test_a_half_placed_cluster_is_told_with_its_accelerators_and_its_dollars() -> None:
    run = await training_of(8)
    for name in run.pods:
        if name.endswith(("head", "w0-1", "w1-1", "w2-1")):
            run.cluster.run_pod(name)
        else:
            unschedulable(run, name)
    await run.turn()
    run.cluster.tick(720)
    await run.turn()
    waiting = told(run)
    assert (waiting.reason, waiting.resource) == ("Unschedulable", "cpu, nvidia.com/gpu")
    assert waiting.pod_count == 5
    assert waiting.pods == [f"gpt-trn-1-w{i}-1" for i in range(3, 8)]
    assert waiting.held_accelerators == 3
    # 3 GPUs x 3.99 $/h and a head without price on this plan, 720 s
    assert waiting.held_micro_usd == 3 * 798_000
    assert "5 of 9 pods wait for cpu, nvidia.com/gpu" in waiting.message
    assert waiting.message.endswith("; 3 of 8 accelerators held idle 12 min = $2.39")


async def test_a_cluster_of_which_nothing_is_placed_costs_nothing() -> None:
    run = await training_of(2)
    for name in run.pods:
        unschedulable(run, name)
    run.cluster.tick(900)
    await run.turn()
    waiting = told(run)
    assert (waiting.held_accelerators, waiting.held_micro_usd) == (0, 0)
    assert "$" not in waiting.message


async def test_an_image_that_cannot_be_pulled_is_named() -> None:
    run = await training_of(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    pull = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "jobs:1"'}}
    run.cluster.pod("gpt-trn-1-w1-1")["status"]["containerStatuses"] = [{"name": "stage", "state": pull}]
    run.cluster.tick(60)
    await run.turn()
    waiting = told(run)
    assert (waiting.reason, waiting.resource, waiting.pods) == ("ImagePullBackOff", "jobs:1", ["gpt-trn-1-w1-1"])
    assert waiting.held_accelerators == 2, "the pod that pulls is placed and paid for as well"


async def test_pods_that_take_long_to_start_are_told_without_alarm() -> None:
    run = await training_of(2)
    for name in run.pods:
        run.cluster.run_pod(name)
        del run.cluster.pod(name)["status"]["containerStatuses"]
    run.cluster.tick(31)
    await run.turn()
    assert told(run).reason == "Starting"
    assert next(c for c in run.status.conditions if c.type == "Progressing").status == "True"


async def test_a_refused_pod_says_which_quota_and_what_is_held_meanwhile() -> None:
    run = Scenario(startDeadlineSeconds=7200)
    await run.run_stage()
    await run.run_stage()
    quota = 'pods "w" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=1, limited: requests.nvidia.com/gpu=1'

    def refuse(resource: str, body: dict[str, Any]) -> ApiError | None:
        return ApiError(403, "Forbidden", quota) if "-w1-" in body["metadata"]["name"] else None

    run.cluster.refuse = refuse
    while not run.pods:
        await run.turn()
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    run.cluster.tick(3600)
    await run.turn()
    waiting = told(run)
    assert (waiting.reason, waiting.resource, waiting.pods) == ("QuotaExceeded", "nvidia.com/gpu", ["gpt-trn-1-w1-1"])
    assert (waiting.held_accelerators, waiting.held_micro_usd) == (1, 3_990_000)


async def test_suspension_and_an_empty_budget_are_told_and_cost_nothing() -> None:
    run = await training_of(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.job["spec"]["suspend"] = True
    await run.drain()
    assert (told(run).reason, told(run).held_micro_usd) == ("Suspended", 0)
    run.job["spec"]["suspend"] = False
    run.job["spec"]["budget"] = {"limitUsd": "0.01"}
    await run.turn()
    assert told(run).reason == "BudgetExceeded"
    assert "raise `spec.budget.limitUsd`" in told(run).message


async def test_a_running_cluster_waits_for_nothing() -> None:
    run = await training_of(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(3600)
    await run.turn()
    assert run.status.waiting is None


def test_the_apiservers_words_are_understood() -> None:
    assert insufficient(NO_GPU) == "cpu, nvidia.com/gpu"
    assert insufficient("0/1 nodes are available: 1 node(s) had untolerated taint(s)") == ""
    assert quota_resource("exceeded quota: a, requested: pods=1,requests.cpu=2, used: pods=3") == "pods, cpu"
    assert (
        reason_of('pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged') == "PodSecurityRefused"
    )
    assert reason_of("configmaps `x` exists and is not of this job; delete it") == "NameTaken"
    assert reason_of("something else") == "CreateRefused"

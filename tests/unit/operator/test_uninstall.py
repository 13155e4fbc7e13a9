"""Before the operator goes: every job suspended, every pod settled, no finalizer left."""

import pytest
from llmtrain_operator.names import FINALIZER_JOB
from llmtrain_operator.reconcile import JOBS
from llmtrain_operator.uninstall import DEPLOYMENTS, Policy, StillThereError, Uninstaller

from tests.unit.operator.scenario import Scenario

PODS = "api/v1/pods"


def uninstaller(scenario: Scenario, policy: Policy, seconds: float = 60, operator_lives: bool = True) -> Uninstaller:
    """While it waits, the operator has its turns and kubelets end pods."""

    async def pause(_: float) -> None:
        scenario.cluster.tick(2)
        deployment = scenario.cluster.objects[(DEPLOYMENTS, "system", "op")]
        if deployment["spec"]["replicas"] == 0:
            scenario.cluster.objects.pop((PODS, "system", "op-1"), None)
        elif operator_lives:
            await scenario.drain_step()

    def clock() -> float:
        return scenario.cluster.now.timestamp()

    return Uninstaller(scenario.cluster, policy, [], "system", "op", seconds, clock, pause)


async def running() -> Scenario:
    """A job whose first stage runs, and the operator's own deployment and pod."""
    scenario = Scenario()
    labels = {"app": "op"}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}}
    scenario.cluster.add(DEPLOYMENTS, {"metadata": {"name": "op", "namespace": "system"}, "spec": spec})
    pod = {"metadata": {"name": "op-1", "namespace": "system", "labels": labels}, "spec": {}, "status": {}}
    scenario.cluster.add(PODS, pod)
    await scenario.turn(3)
    for name in scenario.pods:
        if name != "op-1":
            scenario.cluster.run_pod(name)
    await scenario.turn(1)
    return scenario


async def test_a_running_job_is_suspended_settled_and_free_of_finalizers() -> None:
    scenario = await running()
    await uninstaller(scenario, Policy.SUSPEND).run()
    assert scenario.pods == []
    assert scenario.job["spec"]["suspend"] is True
    assert scenario.job["metadata"]["finalizers"] == []
    ledger = scenario.status.ledger
    assert (ledger.total_micro_usd > 0, ledger.high_water) == (True, [])
    assert scenario.cluster.objects[(DEPLOYMENTS, "system", "op")]["spec"]["replicas"] == 0


async def test_a_job_is_deleted_and_booked_where_the_policy_says_so() -> None:
    scenario = await running()
    await uninstaller(scenario, Policy.DELETE).run()
    assert scenario.cluster.of(JOBS) == []
    assert scenario.cluster.of("api/v1/configmaps") != []


async def test_a_finished_job_is_left_as_it_is() -> None:
    scenario = await running()
    scenario.job["status"] |= {"state": "Failed"}
    for name in scenario.pods:
        scenario.cluster.objects.pop((PODS, "team-a", name), None)
    await uninstaller(scenario, Policy.SUSPEND, operator_lives=False).run()
    assert "suspend" not in scenario.job["spec"]
    assert scenario.job["metadata"]["finalizers"] == []


async def test_pods_that_do_not_go_are_named_and_the_finalizers_stay() -> None:
    scenario = await running()
    with pytest.raises(StillThereError, match="pod team-a/gpt-pre-1-head"):
        await uninstaller(scenario, Policy.SUSPEND, seconds=10, operator_lives=False).run()
    assert FINALIZER_JOB in scenario.job["metadata"]["finalizers"]
    assert scenario.cluster.objects[(DEPLOYMENTS, "system", "op")]["spec"]["replicas"] == 1


def test_the_policy_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="Keep"):
        Policy("Keep")

"""Pods that their kubelets reject, or end for what the pods did themselves: whose fault it was, and what follows."""

import itertools
from typing import Any

import pytest
from llmtrain_operator.client import Object
from llmtrain_operator.podstate import PodState

from tests.unit.operator.fake_cluster import stamp
from tests.unit.operator.scenario import Scenario
from tests.unit.operator.test_containers import in_training, training

POD_LIMIT = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
CONTAINER_LIMIT = 'Container stage exceeded its local ephemeral storage limit "1Gi". '
VOLUME_LIMIT = 'Usage of EmptyDir volume "shared-memory" exceeds the limit "512Mi". '
NODE_LOW = "The node was low on resource: ephemeral-storage. Container stage was using 5Gi, request is 0, has larger consumption of ephemeral-storage. "  # fmt: skip


def reject(run: Scenario, name: str, reason: str = "UnexpectedAdmissionError", node: str = "node-1") -> None:
    """As a kubelet does: it leaves nothing of the conditions, and no container was ever there."""
    body = run.cluster.pod(name)
    body["spec"]["nodeName"] = node
    body["status"] = {"phase": "Failed", "reason": reason, "message": "Pod was rejected: no healthy devices",
                      "startTime": stamp(run.cluster.now)}  # fmt: skip


def evict(run: Scenario, name: str, message: str) -> None:
    run.cluster.pod(name)["status"] |= {"reason": "Evicted", "message": message}
    run.cluster.end_pod(name, 137, reason="Error")


def excludes(pod: Object) -> list[str]:
    terms = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    found = terms.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    return [value for term in found for field in term["matchFields"] for value in field["values"]]


@pytest.mark.parametrize("message", [POD_LIMIT, CONTAINER_LIMIT, VOLUME_LIMIT])
@pytest.mark.parametrize("name", ["head", "w0-1"])
async def test_a_pod_evicted_for_its_own_storage_limit_is_tried_once_more_and_then_fails_with_the_limit(
    name: str, message: str
) -> None:
    run = await in_training({})
    for attempt in (1, 2):
        run.cluster.tick(1800)
        evict(run, f"gpt-trn-{attempt}-{name}", message)
        await run.drain()
        if attempt == 1:
            run.cluster.tick(301)
            await run.until_pods()
            await run.turn(2)
            for pod in run.pods:
                run.cluster.run_pod(pod)
            await run.turn()
    stage = training(run)
    assert (stage.state, stage.attempt, stage.failures, stage.node_losses) == ("Failed", 2, 2, [])
    assert stage.message.startswith("EphemeralStorageExceeded")
    assert message.strip() in stage.message


async def test_a_node_that_runs_low_is_at_fault() -> None:
    run = await in_training({})
    evict(run, "gpt-trn-1-head", NODE_LOW)
    await run.turn()
    outcome = training(run).outcome
    assert outcome
    assert (outcome.failure_class, outcome.node, outcome.counted) == ("Infrastructure", "node-1", False)


async def test_a_rejected_worker_has_its_successor_after_a_growing_pause_and_elsewhere_after_the_second() -> None:
    run = await in_training({})
    created = []
    reject(run, "gpt-trn-1-w0-1")
    for incarnation in (2, 3, 4):
        name = f"gpt-trn-1-w0-{incarnation}"
        while name not in run.pods:
            run.cluster.tick(1)
            await run.turn()
        created.append(run.cluster.now)
        assert excludes(run.cluster.pod(name)) == ([] if incarnation == 2 else ["node-1"])
        reject(run, name)
    pauses = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(created)]
    assert [20 <= pauses[0] <= 25, 40 <= pauses[1] <= 45] == [True, True]
    assert training(run).state == "Running"


async def test_what_a_kubelet_says_of_a_pod_that_it_rejects_is_told_while_its_successor_is_not_due() -> None:
    run = await in_training({})
    reject(run, "gpt-trn-1-w0-1", "OutOfcpu")
    await run.turn()
    assert run.status.waiting
    assert run.status.waiting.reason == "OutOfcpu"
    assert "node node-1 rejected it: Pod was rejected: no healthy devices" in run.status.waiting.message


async def test_a_worker_that_started_after_a_rejection_is_replaced_at_once_when_it_is_lost() -> None:
    run = await in_training({})
    reject(run, "gpt-trn-1-w0-1")
    while "gpt-trn-1-w0-2" not in run.pods:
        run.cluster.tick(1)
        await run.turn()
    run.cluster.run_pod("gpt-trn-1-w0-2")
    await run.turn()
    run.cluster.end_pod("gpt-trn-1-w0-2", 137, reason="Error")
    await run.turn(2)
    assert "gpt-trn-1-w0-3" in run.pods
    assert training(run).workers[0].rejections == 0


async def test_a_rejected_head_ends_its_attempt_and_the_second_time_its_node_is_left_out() -> None:
    run = await in_training({})
    for attempt in (1, 2, 3):
        head = f"gpt-trn-{attempt}-head"
        assert excludes(run.cluster.pod(head)) == (["node-1"] if attempt == 3 else [])
        reject(run, head, "NodeAffinity")
        await run.drain()
        assert training(run).message.startswith(f"NodeAffinity: head pod {head} was rejected by node node-1")
        run.cluster.tick(301)
        await run.until_pods()
        await run.turn(2)
    assert (training(run).failures, training(run).infrastructure_failures) == (0, 3)


@pytest.mark.parametrize("scheduled", [True, False])
@pytest.mark.parametrize(
    "reason", ["OutOfcpu", "OutOfnvidia.com/gpu", "UnexpectedAdmissionError", "NodeShutdown", "Evicted"]
)
async def test_a_pod_rejected_and_deleted_before_it_was_seen_bills_nothing(reason: str, scheduled: bool) -> None:
    run = Scenario()
    await run.until_pods()
    name = run.pods[0]
    placed = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(run.cluster.now)}]
    reject(run, name, reason)
    run.cluster.pod(name)["status"]["conditions"] = placed if scheduled else []
    run.cluster.tick(3000)
    gone = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp(run.cluster.now)}
    run.cluster.pod(name)["status"]["conditions"].append(gone)
    run.cluster.pod(name)["metadata"] |= {"deletionTimestamp": stamp(run.cluster.now), "deletionGracePeriodSeconds": 0}
    await run.drain()
    assert (run.status.ledger.total_micro_usd, sum(entry.pods for entry in run.status.ledger.entries)) == (0, 1)


async def test_a_pod_that_ran_until_its_kubelet_came_back_and_rejected_it_is_billed_up_to_when_it_was_last_seen() -> (
    None
):
    run = await in_training({})
    for _ in range(20):
        run.cluster.tick(60)
        await run.turn()
    seen = run.cluster.now
    run.cluster.tick(30)
    reject(run, "gpt-trn-1-w0-1")
    await run.turn(2)
    worker = next(e for e in run.status.ledger.entries if (e.stage, e.role) == ("Training", "worker"))
    assert worker.pod_seconds == 1200
    assert (seen - run.cluster.now).total_seconds() == -30


def test_a_deadline_that_passes_before_the_image_is_there_is_no_rejection() -> None:
    status: dict[str, Any] = {"phase": "Failed", "reason": "DeadlineExceeded"}
    assert not PodState({"status": status}).rejected
    assert not PodState({"status": status | {"reason": "Evicted", "containerStatuses": [{"name": "stage"}]}}).rejected

"""Taking a cluster down: what is paid for is not held by what hangs, and the job says what does."""

from datetime import timedelta

import pytest
from llmtrain_operator.reconcile import JOBS

from tests.unit.operator.fake_cluster import stamp
from tests.unit.operator.scenario import Scenario, recorded_micro_usd
from tests.unit.operator.test_acts import condition, in_training
from tests.unit.operator.test_life_cycle import cut_off
from tests.unit.operator.test_nodes import NODES

GRACE = 60


def asked_to_go(run: Scenario, name: str) -> bool:
    return name not in run.pods or "deletionTimestamp" in run.cluster.pod(name)["metadata"]


def silence(run: Scenario, node: str, seconds_ago: int = 0) -> None:
    since = stamp(run.cluster.now - timedelta(seconds=seconds_ago))
    told = [{"type": "Ready", "status": "Unknown", "lastTransitionTime": since}]
    run.cluster.objects[(NODES, "", node)]["status"]["conditions"] = told


async def turns(run: Scenario, seconds: int) -> None:
    """Turns, ten seconds apart, while no kubelet ends anything."""
    for _ in range(seconds // 10):
        run.cluster.tick(10)
        await run.turn()


async def test_workers_of_a_head_that_hangs_in_its_end_are_paid_for_no_longer_than_it_may_save() -> None:
    """It writes to storage that does not answer, so that not even SIGKILL ends it; its node is well."""
    run = await in_training()
    run.job["spec"]["suspend"] = True
    await run.turn()
    await turns(run, GRACE + 50)
    assert asked_to_go(run, "gpt-trn-1-head")
    assert not asked_to_go(run, "gpt-trn-1-w0-1"), "it may still save"
    await turns(run, 20)
    assert asked_to_go(run, "gpt-trn-1-w0-1")
    assert asked_to_go(run, "gpt-trn-1-w1-1")
    await run.drain()
    assert run.status.state == "Suspended"
    assert run.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster)


async def test_workers_of_a_head_whose_node_is_silent_go_at_once() -> None:
    run = await in_training()
    well = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    run.cluster.add(NODES, {"metadata": {"name": "node-2"}, "status": {"conditions": well}})
    run.cluster.pod("gpt-trn-1-head")["spec"]["nodeName"] = "node-2"
    cut_off(run, "gpt-trn-1-head")
    silence(run, "node-2")
    await turns(run, 60)
    assert not asked_to_go(run, "gpt-trn-1-w0-1")
    await turns(run, 10)
    assert run.status.state == "Stopping"
    assert asked_to_go(run, "gpt-trn-1-head")
    assert asked_to_go(run, "gpt-trn-1-w0-1")
    assert asked_to_go(run, "gpt-trn-1-w1-1")


@pytest.mark.parametrize(
    ("how", "words"),
    [("finalizer", "finalizer `example.com/x` holds it"), ("hung", "its kubelet on node node-1 has not said")],
)
@pytest.mark.parametrize("end", ["suspend", "delete"])
async def test_pods_that_do_not_go_are_told_with_who_holds_them(how: str, words: str, end: str) -> None:
    run = await in_training()
    worker = run.cluster.pod("gpt-trn-1-w0-1")
    if how == "finalizer":
        worker["metadata"]["finalizers"].append("example.com/x")
    if end == "delete":
        await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    else:
        run.job["spec"]["suspend"] = True
    for _ in range(20):
        await (run.drain_step() if how == "finalizer" else run.turn())
        run.cluster.tick(10)
    waiting, progressing = run.status.waiting, condition(run, "Progressing")
    assert waiting is not None
    assert (waiting.reason, words in waiting.message) == ("NotTornDown", True)
    assert progressing is not None
    assert progressing[:2] == ("False", "NotTornDown")
    if how == "finalizer":
        assert waiting.held_micro_usd == 0
        worker = run.cluster.pod("gpt-trn-1-w0-1")
        worker["metadata"]["finalizers"].remove("example.com/x")
        run.cluster._collect("api/v1/pods", "team-a", "gpt-trn-1-w0-1")
    for _ in range(6):
        await run.drain_step()
    assert run.pods == []


async def test_a_pod_of_an_older_attempt_that_does_not_go_keeps_nobody_from_stopping() -> None:
    """An answer that was lost brought it late, and somebody's finalizer holds it."""
    run = await in_training()
    own = run.cluster.pod("gpt-trn-1-w0-1")
    meta = {
        "name": "gpt-cur-1-w0-9",
        "namespace": "team-a",
        "labels": own["metadata"]["labels"],
        "ownerReferences": own["metadata"]["ownerReferences"],
        "finalizers": ["example.com/x"],
    }
    run.cluster.add("api/v1/pods", {"metadata": meta, "spec": own["spec"], "status": {"phase": "Pending"}})
    run.cluster.end_pod("gpt-trn-1-w1-1", 137, reason="Error")
    await turns(run, 100)
    assert "gpt-trn-1-w1-2" not in run.pods, "nothing is made beside it"
    assert run.status.waiting is not None
    assert (run.status.waiting.reason, run.status.waiting.pods) == ("NotTornDown", ["gpt-cur-1-w0-9"])
    run.job["spec"]["suspend"] = True
    for _ in range(10):
        await run.drain_step()
    assert run.pods == ["gpt-cur-1-w0-9"]


async def test_a_job_whose_spec_does_not_parse_goes_though_its_node_is_lost() -> None:
    run = await in_training()
    run.job["spec"]["storage"] = {"bogus": 1}
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    silence(run, "node-1")
    await run.turn()
    assert run.status.state == "Invalid"
    for _ in range(50):
        run.cluster.tick(10)
        if (await run.turn()).gone:
            break
    assert not run.cluster.of(JOBS)
    assert run.pods == []

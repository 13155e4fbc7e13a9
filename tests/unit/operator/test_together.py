"""A cluster that is taken down is booked with one write, and no pod's bill waits long for another pod."""

from typing import Any

from llmtrain_operator.reconcile import Memory

from tests.unit.operator.scenario import Scenario, recorded_micro_usd


async def stopping_head() -> Scenario:
    """A cluster of head and worker that was suspended and whose head has just ended."""
    run = Scenario()
    await run.run_stage()
    await run.until_pods()
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn(2)
    run.cluster.tick(50)
    run.job["spec"]["suspend"] = True
    await run.turn()
    run.cluster.tick(1)
    run.cluster.end_pod(next(name for name in run.pods if name.endswith("head")), 75)
    return run


def ledger(run: Scenario) -> dict[str, Any]:
    found: dict[str, Any] = run.job["status"]["ledger"]
    return found


async def test_a_heads_bill_is_written_with_its_workers() -> None:
    run = await stopping_head()
    before = run.job["metadata"]["resourceVersion"]
    await run.turn()
    assert run.job["metadata"]["resourceVersion"] == before, "the workers are asked to go without a write"
    worker = next(name for name in run.pods if not name.endswith("head"))
    assert "deletionTimestamp" in run.cluster.pod(worker)["metadata"]
    run.cluster.tick(1)
    run.cluster.end_pod(worker, 143)
    await run.turn()
    assert len(ledger(run)["settled"]) == 2


async def test_a_bill_waits_ten_seconds_for_a_worker_that_does_not_end() -> None:
    run = await stopping_head()
    for _ in range(10):
        await run.turn()
        assert any(name.endswith("head") for name in run.pods), "its finalizer keeps what is not booked"
        run.cluster.tick(1)
    await run.turn(2)
    assert not any(name.endswith("head") for name in run.pods)
    assert [entry["role"] for entry in ledger(run)["entries"]].count("head") == 2, "preflight's and curation's"


async def test_a_pod_that_nothing_holds_is_booked_at_once() -> None:
    run = await stopping_head()
    head = next(name for name in run.pods if name.endswith("head"))
    run.cluster.pod(head)["metadata"]["finalizers"] = ["somebody.else/holds"]
    await run.turn()
    assert run.cluster.pod(head)["metadata"]["uid"] in ledger(run)["settled"]


async def test_an_operator_that_dies_before_the_one_write_books_the_same() -> None:
    run = await stopping_head()
    for _ in range(20):
        run.memory = Memory()
        await run.drain_step()
    assert not run.pods
    assert run.status.state == "Suspended"
    assert ledger(run)["totalMicroUsd"] == recorded_micro_usd(run.cluster)

"""Nothing is created, settled, let go or moved on from pods that were read before this turn, or long ago within it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from llmtrain_operator.client import Found
from llmtrain_operator.decide import decide
from llmtrain_operator.observation import DeletePod, Observation
from llmtrain_operator.observe import Look, read_job
from llmtrain_operator.reconcile import JOBS, Reconciler
from llmtrain_operator.rest import Kept, pack

from llmtrain.api.status import StageState
from tests.unit.operator.scenario import Scenario
from tests.unit.operator.test_acts import in_training


async def observe(run: Scenario) -> Observation:
    """What the next turn would see."""
    reconciler = Reconciler(run.cluster, run.cluster.clock, "jobs:1")
    job = read_job(run.job)
    pods = await reconciler.observer.pods(job, None, run.memory)
    return await reconciler.observer.observe(job, Look(pods.pods, run.cluster.now), run.memory)


async def before_a_create() -> Scenario:
    run = await in_training()
    del run.cluster.objects[("api/v1/pods", "team-a", "gpt-trn-1-w0-1")]
    run.job["status"]["ledger"]["highWater"] = [
        mark for mark in run.job["status"]["ledger"]["highWater"] if mark["role"] != "worker"
    ]
    return run


async def before_a_bill() -> Scenario:
    """A worker has vanished: it is billed for good as it was last seen, and there is nothing to let go, nor a successor."""
    run = await in_training()
    del run.cluster.objects[("api/v1/pods", "team-a", "gpt-trn-1-w0-1")]
    run.job["spec"]["suspend"] = True
    return run


async def before_a_release() -> Scenario:
    run = await in_training()
    run.end_head()
    run.job["status"] = decide(await observe(run)).status.to_dict()
    return run


async def before_the_job_goes() -> Scenario:
    run = await in_training()
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    while run.pods:
        await run.drain_step()
    return run


async def before_the_next_stage() -> Scenario:
    """Every pod of the last one is gone, and what they mounted."""
    run = await in_training()
    run.end_head()
    while run.pods or run.cluster.of("api/v1/configmaps"):
        await run.drain_step()
    assert run.status.stages[2].state is StageState.STOPPING
    run.job["status"]["ledger"].pop("settled", None)
    return run


async def before_the_next_attempt() -> Scenario:
    run = await in_training()
    run.cluster.end_pod("gpt-trn-1-head", 70, reason="Error")
    await run.drain()
    run.cluster.tick(600)
    assert run.status.stages[2].state is StageState.PENDING
    return run


def kinds(seen: Observation) -> set[str]:
    return {type(action).__name__ for action in decide(seen).actions}


def creates_a_worker(seen: Observation) -> bool:
    return "CreateWorker" in kinds(seen)


def bills(seen: Observation) -> bool:
    booked = [sum(entry.pods for entry in status.ledger.entries) for status in (seen.job.status, decide(seen).status)]
    return booked[1] == booked[0] + 1 and kinds(seen) == {"DeletePod"}


def releases_a_pod(seen: Observation) -> bool:
    return "ReleasePod" in kinds(seen) and not {"CreateHead", "CreateWorker"} & kinds(seen)


def lets_the_job_go(seen: Observation) -> bool:
    return "ReleaseJob" in kinds(seen)


def moves_on(seen: Observation) -> bool:
    after = decide(seen).status
    return after.stages[2].state is StageState.SUCCEEDED and not kinds(seen) and not after.ledger.settled


def begins_anew(seen: Observation) -> bool:
    return decide(seen).status.stages[2].attempt == seen.job.status.stages[2].attempt + 1


COSTLY: list[tuple[Callable[[], Awaitable[Scenario]], Callable[[Observation], bool]]] = [
    (before_a_create, creates_a_worker),
    (before_a_bill, bills),
    (before_a_release, releases_a_pod),
    (before_the_job_goes, lets_the_job_go),
    (before_the_next_stage, moves_on),
    (before_the_next_attempt, begins_anew),
]


@pytest.mark.parametrize(("moment", "follows"), COSTLY, ids=[follows.__name__ for _, follows in COSTLY])
async def test_it_is_refused_on_old_reads(
    moment: Callable[[], Awaitable[Scenario]], follows: Callable[[Observation], bool]
) -> None:
    seen = await observe(await moment())
    assert follows(seen), "on live reads"
    old = (
        replace(seen, live=False),
        replace(seen, live=False, pods_read=seen.now - timedelta(seconds=1)),
        replace(seen, pods_read=seen.now - timedelta(seconds=61)),
    )
    for reads in old:
        decision = decide(reads)
        assert decision.stale
        assert (decision.actions, decision.events) == ([], [])
        assert decision.status.to_dict() == seen.job.status.to_dict()
    assert not decide(replace(seen, pods_read=seen.now - timedelta(seconds=60))).stale


async def test_a_job_that_was_kept_is_stopped_at_once() -> None:
    """What a stop asks for is right whatever has become of the pods."""
    run = await in_training()
    run.job["spec"]["suspend"] = True
    decision = decide(replace(await observe(run), live=False))
    assert not decision.stale
    assert decision.status.stages[2].state is StageState.STOPPING
    assert {type(action) for action in decision.actions} == {DeletePod}


async def test_a_turn_that_was_woken_reads_pods_before_anything_costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the job kept of its pods lacks a worker that is there."""
    run = await in_training()
    await run.turn()
    kept = run.memory.rest.kept
    assert kept is not None
    without = [pod for pod in kept.pods() if pod["metadata"]["name"] != "gpt-trn-1-w0-1"]
    run.memory.rest.kept = Kept(kept.read, pack(without))
    run.memory.woken = True
    run.memory.pods.told = ""
    assert run.memory.pods.are_listed()
    asked, find = list[str](), run.cluster.find

    async def noted(resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        asked.append(resource)
        return await find(resource, namespace, selector, not_before)

    monkeypatch.setattr(run.cluster, "find", noted)
    made, bill = list(run.cluster.pods_created), run.status.ledger.total_micro_usd
    await run.turn()
    assert "api/v1/pods" in asked
    assert run.cluster.pods_created == made
    assert run.status.ledger.total_micro_usd == bill

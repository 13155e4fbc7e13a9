"""A job at rest is looked at by the clock alone; whatever follows from that is left to a turn with live reads."""

from datetime import datetime
from typing import Any

import pytest
from llmtrain_operator.client import ApiError
from llmtrain_operator.reconcile import PROVISIONAL_SECONDS, Memory, Outlook, Reconciler
from llmtrain_operator.rest import LIVE_SECONDS, until_live

from llmtrain.api.status import JobStatus, Progress
from tests.unit.operator.scenario import Scenario


def reconciler(run: Scenario) -> Reconciler:
    return Reconciler(run.cluster, run.cluster.clock, "jobs:1", run.network)


def glance(run: Scenario) -> Outlook | None:
    return reconciler(run).glance(run.memory)


async def training(**spec: Any) -> Scenario:
    """A job whose training runs quietly, just looked at in its own second of the minute."""
    run = Scenario(**spec)
    for _ in range(2):
        await run.run_stage()
    await run.until_pods()
    await run.turn()
    for name in run.pods:
        run.cluster.run_pod(name)
    for _ in range(LIVE_SECONDS + 1):
        run.cluster.tick(1)
        await run.turn()
        until = run.memory.quiet_until
        if until and (until - run.cluster.now).total_seconds() == LIVE_SECONDS:
            return run
    raise AssertionError("the job never came to rest")


def alive_seconds(status: JobStatus) -> int:
    return sum(mark.alive_seconds for mark in status.ledger.high_water)


def running_seconds(run: Scenario) -> int:
    started = run.cluster.pod(run.pods[0])["status"]["conditions"][0]["lastTransitionTime"]
    return int((run.cluster.now - datetime.fromisoformat(started)).total_seconds())


def rotates_in(run: Scenario) -> float:
    """Seconds until five minutes before the kubelet would end the head."""
    head = next(pod for name in run.pods if (pod := run.cluster.pod(name)) and name.endswith("head"))
    accepted = datetime.fromisoformat(head["status"]["startTime"])
    return (accepted - run.cluster.now).total_seconds() + 4000 - 300


async def test_a_job_at_rest_asks_nothing_until_its_next_live_turn() -> None:
    run = await training()
    asked = run.cluster.writes
    run.cluster.objects, kept = {}, run.cluster.objects  # nobody is there to be asked
    looks = []
    for _ in range(4):
        run.cluster.tick(15)
        looks.append(glance(run))
    assert [look is not None and look.seconds for look in looks] == [15, 15, 15, False]
    assert run.cluster.writes == asked
    run.cluster.objects = kept
    await run.turn()
    assert alive_seconds(run.status) == 3 * running_seconds(run)


@pytest.mark.parametrize("seconds_left", [5, 20, 59])
async def test_no_rest_reaches_beyond_a_deadline(seconds_left: int) -> None:
    run = await training(maxPodLifetimeSeconds=4000)
    assert run.memory.quiet_until is not None
    while rotates_in(run) > LIVE_SECONDS:
        run.cluster.tick(LIVE_SECONDS)
        await run.turn()
    run.cluster.tick(int(rotates_in(run)) - seconds_left)
    await run.turn()
    assert run.status.state == "Running"
    until = run.memory.quiet_until
    assert until is None or (until - run.cluster.now).total_seconds() < seconds_left
    run.cluster.tick(seconds_left)
    await run.turn()
    assert run.status.state == "Stopping"


async def test_what_the_head_says_is_left_to_a_live_turn() -> None:
    run = await training()
    head = next(pod for name in run.pods if (pod := run.cluster.pod(name)) and name.endswith("head"))
    run.memory.progress, run.memory.progress_of = Progress(done=7), head["metadata"]["uid"]
    assert glance(run) is None
    await run.turn()
    assert (run.status.stages[2].progress or Progress()).done == 7


async def test_after_a_turn_that_failed_nothing_is_taken_from_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await training()

    async def away(*_: object, **__: object) -> None:
        raise ApiError(0, "NoAnswer", "away")

    with monkeypatch.context() as patched:
        patched.setattr(run.cluster, "find", away)
        with pytest.raises(ApiError):
            await reconciler(run).turn("team-a", "gpt", run.memory)
    assert glance(run) is None


async def test_after_a_restart_a_bill_that_was_just_written_is_not_written_again() -> None:
    run = await training()
    written = run.cluster.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    run.job["metadata"]["managedFields"] = [
        {"subresource": "status", "time": written},
        {"time": "2030-01-01T00:00:00Z"},
    ]
    before = run.job["metadata"]["resourceVersion"]
    run.cluster.tick(PROVISIONAL_SECONDS - 1)
    run.memory = Memory()
    await run.turn()
    assert run.job["metadata"]["resourceVersion"] == before
    run.cluster.tick(1)
    run.memory = Memory()
    await run.turn()
    assert alive_seconds(run.status) == 3 * running_seconds(run)


async def test_a_job_that_shares_a_budget_has_live_turns_only() -> None:
    run = await training()
    assert run.memory.quiet_until is not None
    budget = {"metadata": {"name": "team", "namespace": "team-a"}, "spec": {"limitUsd": "1000", "period": "Month"}}
    run.cluster.add("apis/llmtrain.dev/v1alpha1/trainingbudgets", budget)
    await run.turn(5)
    assert run.memory.quiet_until is None


async def test_jobs_have_their_live_turns_at_seconds_of_their_own() -> None:
    run = Scenario()
    seconds = [until_live(f"uid-{number}", run.cluster.now) for number in range(1000)]
    assert all(0 < each <= LIVE_SECONDS for each in seconds)
    fullest = max(seconds.count(each) for each in set(seconds))
    assert fullest < 40, "a thousand jobs would turn at once"

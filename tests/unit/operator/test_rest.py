"""A job at rest is looked at by the clock alone; whatever follows from that is left to a turn with live reads."""

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest
from llmtrain_operator.client import ApiError
from llmtrain_operator.reconcile import Outlook, Reconciler
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
    while not run.pods:
        await run.turn()
        run.cluster.tick(1)
    await run.turn()
    for name in run.pods:
        run.cluster.run_pod(name)
    for _ in range(LIVE_SECONDS + 1):
        run.cluster.tick(1)
        await run.turn()
        if run.memory.rest and (run.memory.rest.until - run.cluster.now).total_seconds() == LIVE_SECONDS:
            return run
    raise AssertionError("the job never came to rest")


def alive_seconds(status: JobStatus) -> int:
    return sum(mark.alive_seconds for mark in status.ledger.high_water)


def running_seconds(run: Scenario) -> int:
    started = run.cluster.pod(run.pods[0])["status"]["conditions"][0]["lastTransitionTime"]
    return int((run.cluster.now - datetime.fromisoformat(started)).total_seconds())


async def test_a_glance_asks_nothing_and_goes_on_counting_the_bill() -> None:
    run = await training()
    run.cluster.tick(15)
    seconds, asked = running_seconds(run), run.cluster.writes
    run.cluster.objects.clear()  # nobody is there to be asked
    outlook = glance(run)
    assert outlook is not None
    assert outlook.status is not None
    assert outlook.seconds == 15
    assert alive_seconds(outlook.status) == 3 * seconds
    assert run.cluster.writes == asked


async def test_every_minute_there_is_a_live_turn_that_writes_the_bill() -> None:
    run = await training()
    looks = []
    for _ in range(4):
        run.cluster.tick(15)
        looks.append(glance(run) is not None)
    assert looks == [True, True, True, False]
    await run.turn()
    assert alive_seconds(run.status) == 3 * running_seconds(run)


async def test_a_deadline_that_passes_is_left_to_a_live_turn() -> None:
    run = await training()
    run.cluster.tick(15)
    assert glance(run) is not None
    assert run.memory.rest is not None
    run.memory.rest = dataclasses.replace(run.memory.rest, until=run.cluster.now + timedelta(days=2))
    run.cluster.tick(86400)  # longer than a pod may live: the cluster is to be rotated
    assert glance(run) is None
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


async def test_a_job_that_shares_a_budget_has_live_turns_only() -> None:
    run = await training()
    assert run.memory.rest is not None
    budget = {"metadata": {"name": "team", "namespace": "team-a"}, "spec": {"limitUsd": "1000", "period": "Month"}}
    run.cluster.add("apis/llmtrain.dev/v1alpha1/trainingbudgets", budget)
    await run.turn(5)
    assert run.memory.rest is None


async def test_jobs_have_their_live_turns_at_seconds_of_their_own() -> None:
    run = Scenario()
    seconds = [until_live(f"uid-{number}", run.cluster.now) for number in range(1000)]
    assert all(0 < each <= LIVE_SECONDS for each in seconds)
    fullest = max(seconds.count(each) for each in set(seconds))
    assert fullest < 40, "a thousand jobs would turn at once"

"""A job at rest is looked at by the clock alone; whatever follows from that is left to a turn with live reads."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Found, Object
from llmtrain_operator.memory import Memory
from llmtrain_operator.reconcile import JOBS, PROVISIONAL_SECONDS, Outlook, Reconciler
from llmtrain_operator.rest import LOOK_SECONDS, Crowd, until_look

from llmtrain.api.status import JobStatus, Progress
from tests.unit.operator.scenario import Scenario


def reconciler(run: Scenario) -> Reconciler:
    return Reconciler(run.cluster, run.cluster.clock, "jobs:1", run.network)


MANY, FEW = Crowd(1000), Crowd(3)


def glance(run: Scenario, crowd: Crowd = MANY) -> Outlook | None:
    return reconciler(run).glance(run.memory, crowd)


async def rested(run: Scenario, crowd: Crowd = MANY) -> Outlook | None:
    """While the watch of pods works."""
    return await reconciler(run).rested_turn(run.memory, replace(crowd, heard=run.cluster.now))


def say(run: Scenario, done: int) -> None:
    """The head says how far it is."""
    head = next(pod for name in run.pods if (pod := run.cluster.pod(name)) and name.endswith("head"))
    run.memory.progress, run.memory.progress_of = Progress(done=done), head["metadata"]["uid"]


def said(run: Scenario) -> int:
    """What the status has of that."""
    return (run.status.stages[2].progress or Progress()).done


class Away:
    """The job and its pods cannot be read."""

    def __init__(self, run: Scenario, patched: pytest.MonkeyPatch) -> None:
        self.run, self.get = run, run.cluster.get
        patched.setattr(run.cluster, "get", self.refuse_job)
        patched.setattr(run.cluster, "find", self.refuse_pods)

    async def refuse_job(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        if resource == JOBS:
            raise AssertionError("the job was read")
        return await self.get(resource, namespace, name, not_before)

    async def refuse_pods(self, resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        if resource == "api/v1/pods":
            raise AssertionError("the pods were listed")
        return Found([], "")


async def training(**spec: Any) -> Scenario:
    """A job whose training runs quietly, just looked at in its own second of the minute."""
    run = Scenario(**spec)
    for _ in range(2):
        await run.run_stage()
    await run.until_pods()
    await run.turn()
    for name in run.pods:
        run.cluster.run_pod(name)
    for _ in range(LOOK_SECONDS + 1):
        run.cluster.tick(1)
        await run.turn()
        until = run.memory.rest.quiet_until
        if until and (until - run.cluster.now).total_seconds() == LOOK_SECONDS:
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
    assert run.memory.rest.quiet_until is not None
    while rotates_in(run) > LOOK_SECONDS:
        run.cluster.tick(LOOK_SECONDS)
        await run.turn()
    run.cluster.tick(int(rotates_in(run)) - seconds_left)
    await run.turn()
    assert run.status.state == "Running"
    until = run.memory.rest.quiet_until
    assert until is None or (until - run.cluster.now).total_seconds() < seconds_left
    run.cluster.tick(seconds_left)
    await run.turn()
    assert run.status.state == "Stopping"


async def test_what_the_head_says_is_written_without_reading_the_job_or_its_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await training()
    run.cluster.tick(LOOK_SECONDS - 1)
    say(run, 7)
    assert glance(run) is None
    with monkeypatch.context() as patched:
        Away(run, patched)
        assert await rested(run)
    assert said(run) == 7
    assert run.memory.told == Progress(done=7)


async def test_a_bill_is_written_without_reading_the_job_or_its_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await training()
    with monkeypatch.context() as patched:
        Away(run, patched)
        for _ in range(4):
            run.cluster.tick(LOOK_SECONDS)
            assert glance(run) is None
            assert await rested(run)
            assert alive_seconds(run.status) == 3 * running_seconds(run)


async def test_turns_at_rest_write_what_live_turns_would_have_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmtrain_operator.observe.secrets.token_hex", lambda count: "00000000")
    live, resting = await training(), await training()
    for minute in range(1, 5):
        for run in (live, resting):
            run.cluster.tick(LOOK_SECONDS)
            say(run, minute)
        await live.turn()
        assert await rested(resting)
    assert resting.status.to_dict() == live.status.to_dict()


@pytest.mark.parametrize("offset", range(0, 60, 7))
async def test_a_total_never_falls_though_the_watch_of_pods_is_silent(offset: int) -> None:
    """A worker ends a second after the last thing that the watch told; the turns of a minute and a half do not know."""
    run = await training()
    run.cluster.tick(offset)
    run.memory.woken = True
    await run.turn()
    heard = run.cluster.now - timedelta(seconds=offset)
    totals = [run.status.ledger.total_micro_usd]
    run.cluster.tick(1)
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    for _ in range(90):
        run.cluster.tick(1)
        crowd = replace(MANY, heard=heard)
        assert glance(run, crowd) or await reconciler(run).rested_turn(run.memory, crowd)
        totals.append(run.status.ledger.total_micro_usd)
    run.memory.pods.gap = run.memory.woken = True
    await run.turn()
    totals.append(run.status.ledger.total_micro_usd)
    assert totals == sorted(totals)


@pytest.mark.parametrize(("jobs", "looks"), [(3, 0), (100, 0), (500, 2), (1000, 4), (10_000, 4)])
async def test_the_more_jobs_there_are_the_rarer_is_a_live_turn(jobs: int, looks: int) -> None:
    run = await training()
    for _ in range(looks):
        run.cluster.tick(LOOK_SECONDS)
        assert await rested(run, Crowd(jobs))
    run.cluster.tick(LOOK_SECONDS)
    assert await rested(run, Crowd(jobs)) is None


async def test_a_job_that_was_changed_is_not_written_from_what_was_kept() -> None:
    run = await training()
    run.job["metadata"]["resourceVersion"] = "999999"
    run.cluster.tick(LOOK_SECONDS)
    before = run.job["status"]
    with pytest.raises(ApiError, match="409"):
        await rested(run)
    assert run.job["status"] == before
    assert await rested(run) is None, "the next turn is live"


async def test_a_stop_that_is_due_is_left_to_a_live_turn() -> None:
    run = await training(maxPodLifetimeSeconds=4000)
    while rotates_in(run) > 0:
        run.cluster.tick(LOOK_SECONDS)
        before, written = run.job["status"], run.cluster.writes
        if await rested(run) is None and rotates_in(run) > 0:
            await run.turn()
    assert (run.job["status"], run.cluster.writes) == (before, written)
    assert run.status.state == "Running"
    await run.turn()
    assert run.status.state == "Stopping"


async def test_a_job_at_rest_that_gets_nowhere_is_found() -> None:
    run = await training(stallDeadlineSeconds=100, retry={"limit": 0})
    for _ in range(2):
        run.cluster.tick(LOOK_SECONDS)
        say(run, 7)
        assert await rested(run)
    run.cluster.tick(LOOK_SECONDS)
    say(run, 7)
    assert await rested(run) is None
    await run.turn()
    assert run.status.state == "Stopping"
    assert run.status.stages[2].outcome is not None
    assert run.status.stages[2].outcome.reason == "Stalled"


async def test_a_crowd_writes_what_heads_say_as_often_as_bills_and_a_few_jobs_at_once() -> None:
    run = await training()
    heard = []
    for second in range(15, 4 * LOOK_SECONDS + 1, 15):
        run.cluster.tick(15)
        say(run, second)
        if glance(run) is None:
            assert await rested(run)
        heard.append(said(run))
        assert second - said(run) <= LOOK_SECONDS
    assert len(set(heard)) <= 7, "more than seven of sixteen were written"
    run.cluster.tick(15)
    say(run, 999)
    assert glance(run) is not None
    assert glance(run, FEW) is None


async def test_nothing_is_kept_of_a_job_whose_pods_end() -> None:
    run = await training()
    name = next(name for name in run.pods if not name.endswith("head"))
    run.cluster.end_pod(name, 0, "")
    await run.turn()
    assert run.memory.rest.kept is None


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
    before = run.status
    run.cluster.tick(PROVISIONAL_SECONDS - 1)
    run.memory = Memory()
    await run.turn()
    assert run.status == before
    run.cluster.tick(1)
    run.memory = Memory()
    await run.turn()
    assert alive_seconds(run.status) == 3 * running_seconds(run)


async def test_a_job_that_shares_a_budget_is_looked_at_every_quarter_of_a_minute() -> None:
    run = await training()
    assert run.memory.rest.quiet_until is not None
    budget = {"metadata": {"name": "team", "namespace": "team-a"}, "spec": {"limitUsd": "1000", "period": "Month"}}
    run.cluster.add("apis/llmtrain.dev/v1alpha1/trainingbudgets", budget)
    await run.turn(5)
    assert run.memory.rest.quiet_until is None
    run.cluster.tick(15)
    assert await rested(run), "but, where jobs are many, not read"


async def test_jobs_are_looked_at_at_seconds_of_their_own() -> None:
    run = Scenario()
    seconds = [until_look(f"uid-{number}", run.cluster.now) for number in range(1000)]
    assert all(0 < each <= LOOK_SECONDS for each in seconds)
    fullest = max(seconds.count(each) for each in set(seconds))
    assert fullest < 40, "a thousand jobs would turn at once"

"""A job that nobody reconciles, for a bug or for what cannot be read, says so, and loses nothing of its status."""

import asyncio
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Found
from llmtrain_operator.crash import tell_crash
from llmtrain_operator.health import Health
from llmtrain_operator.jobs import Failing, Jobs
from llmtrain_operator.metrics import OperatorMetrics
from llmtrain_operator.progress import ProgressReader
from llmtrain_operator.reconcile import JOBS, Reconciler
from llmtrain_operator.snapshots import Snapshots
from prometheus_client import CollectorRegistry

from tests.unit.operator.fake_cluster import clone
from tests.unit.operator.scenario import Scenario
from tests.unit.virtual_time import in_virtual_time


async def test_a_crash_is_told_once_in_a_condition_and_the_next_turn_takes_it_back() -> None:
    run = Scenario()
    await run.turn(3)
    before = clone(run.job["status"])
    await tell_crash(run.cluster, "team-a", "gpt", KeyError("\x1b[2Juid"), run.cluster.now)
    told = next(one for one in run.job["status"]["conditions"] if one["type"] == "Progressing")
    assert (told["status"], told["reason"]) == ("False", "ReconcileFailed")
    assert "KeyError" in told["message"]
    assert "\x1b" not in told["message"]
    assert {**run.job["status"], "conditions": 0} == {**before, "conditions": 0}
    version = run.job["metadata"]["resourceVersion"]
    await tell_crash(run.cluster, "team-a", "gpt", KeyError("\x1b[2Juid"), run.cluster.now)
    assert run.job["metadata"]["resourceVersion"] == version, "the same crash again writes nothing"
    run.memory.woken = True
    await run.turn()
    assert next(one for one in run.job["status"]["conditions"] if one["type"] == "Progressing")["status"] == "True"


@pytest.mark.parametrize("status", [None, {}, {"conditions": 7}, {"conditions": [None, {"type": "Progressing"}]}])
async def test_a_crash_is_told_whatever_the_status_is(status: Any) -> None:
    run = Scenario()
    run.job["status"] = status
    await tell_crash(run.cluster, "team-a", "gpt", RecursionError("deep"), run.cluster.now)
    assert run.job["status"]["conditions"][-1]["reason"] == "ReconcileFailed"


async def test_a_crash_that_cannot_be_told_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()

    async def refuse(*_: Any) -> Any:
        raise ApiError(503, "Unavailable", "later")

    monkeypatch.setattr(run.cluster, "replace", refuse)
    await tell_crash(run.cluster, "team-a", "gpt", KeyError("x"), run.cluster.now)
    del run.cluster.objects[(JOBS, "team-a", "gpt")]
    await tell_crash(run.cluster, "team-a", "gpt", KeyError("x"), run.cluster.now)


@in_virtual_time
async def test_pods_that_cannot_be_listed_are_why_the_job_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of such a turn is written, so somebody else has to say so; the next one that works takes it back."""
    run = Scenario()
    await run.turn(3)
    refused, now = ApiError(403, "Forbidden", "cannot list resource pods"), [0.0]
    find = run.cluster.find

    async def without_pods(resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        if resource == "api/v1/pods":
            now[0] += 6
            raise refused
        return await find(resource, namespace, selector, not_before)

    reconciler = Reconciler(run.cluster, run.cluster.clock, "jobs:1")
    metrics = OperatorMetrics(CollectorRegistry(), lambda: 0.0, "1")
    snapshots, health = Snapshots(run.cluster.clock), Health(lambda: now[0])
    jobs = Jobs(reconciler, snapshots, metrics, ProgressReader(), lambda: now[0], health)
    with monkeypatch.context() as patched:
        patched.setattr(run.cluster, "find", without_pods)
        patched.setattr("llmtrain_operator.jobs.LONGEST_ERROR_PAUSE", 0.01)
        patched.setattr("llmtrain_operator.jobs.LONGEST_GAP", 0.01)
        jobs.ensure("team-a", "gpt", "")
        await asyncio.sleep(0.3)
        await jobs.close()
    waiting = run.status.waiting
    assert waiting is not None
    assert (waiting.reason, refused.message in waiting.message) == ("JobUnread", True)
    told = next(one for one in run.status.conditions if one.type == "Progressing")
    assert (told.status, told.reason) == ("False", "JobUnread")
    await run.turn(2)
    assert run.status.waiting is None
    assert next(one for one in run.status.conditions if one.type == "Progressing").status == "True"


def test_an_error_is_told_once_it_lasts_and_again_where_that_failed_or_it_changes() -> None:
    failing, error = Failing(), ApiError(500, "InternalError", "etcd")
    assert [failing.pause(error), failing.is_to_be_told(error, 0.0)] == [2.0, False]
    assert [failing.pause(error), failing.is_to_be_told(error, 9.0)] == [4.0, False]
    assert failing.is_to_be_told(error, 10.0)
    failing.note(error, 10.0, told=False)
    assert not failing.is_to_be_told(error, 60.0)
    assert failing.is_to_be_told(error, 70.0)
    failing.note(error, 70.0, told=True)
    assert not failing.is_to_be_told(error, 1000.0)
    assert failing.is_to_be_told(ApiError(403, "Forbidden", "no"), 1000.0)


def test_conflicts_are_nobodys_news() -> None:
    failing, conflict = Failing(), ApiError(409, "Conflict", "newer")
    assert [failing.pause(conflict) for _ in range(3)] == [0.1] * 3
    assert [failing.is_to_be_told(conflict, now) for now in (0.0, 100.0)] == [False, False]

"""Budgets or plans that cannot be read start nothing new, and keep no job from running, stopping, settling and going."""

from typing import Any

import pytest
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Found, Object
from llmtrain_operator.recent import PLANS, Recent
from llmtrain_operator.reconcile import JOBS

from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.scenario import Scenario, recorded_micro_usd
from tests.unit.operator.test_acts import condition, in_training
from tests.unit.operator.test_elastic import elastic
from tests.unit.operator.test_frozen_attempt import CONFIG_MAPS, DURING, set_pod

GONE = ApiError(404, "NotFound", "the server could not find the requested resource")
FORBIDDEN = ApiError(403, "Forbidden", "cannot list resource trainingbudgets")
BROKEN = ApiError(500, "InternalError", "etcdserver: leader changed")
ERRORS = pytest.mark.parametrize("error", [GONE, FORBIDDEN, BROKEN], ids=["gone", "forbidden", "broken"])
BUDGET = {"metadata": {"name": "team", "namespace": "team-a"}, "spec": {"limitUsd": "1000.00"}}


def unreadable(run: Scenario, monkeypatch: pytest.MonkeyPatch, resource: str, error: ApiError) -> None:
    """From now on, by list and by name."""
    find, get = run.cluster.find, run.cluster.get

    async def refused_list(kind: str, namespace: str, selector: str, not_before: str = "") -> Found:
        if kind == resource:
            raise error
        return await find(kind, namespace, selector, not_before)

    async def refused_get(kind: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        if kind == resource:
            raise error
        return await get(kind, namespace, name, not_before)

    monkeypatch.setattr(run.cluster, "find", refused_list)
    monkeypatch.setattr(run.cluster, "get", refused_get)


@ERRORS
async def test_a_job_is_suspended_while_budgets_cannot_be_read(
    error: ApiError, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await in_training()
    unreadable(run, monkeypatch, BUDGETS, error)
    run.job["spec"]["suspend"] = True
    await run.drain()
    assert (run.status.state, run.pods) == ("Suspended", [])
    assert run.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster)
    told = condition(run, "BudgetAvailable")
    assert told is not None
    assert told[:2] == ("Unknown", "BudgetsUnread")
    assert error.message in told[2]


@ERRORS
async def test_a_job_is_deleted_while_budgets_cannot_be_read(error: ApiError, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once where they are gone or may not be read; what may pass is waited for, but not for good."""
    run = await in_training()
    unreadable(run, monkeypatch, BUDGETS, error)
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    minutes = 0
    while run.cluster.of(JOBS) and minutes < 20:
        for _ in range(6):
            if run.cluster.of(JOBS):
                await run.drain_step()
        run.cluster.tick(54)
        minutes += 1
    assert not run.cluster.of(JOBS)
    assert minutes <= (12 if error is BROKEN else 2)


@pytest.mark.parametrize("resource", [BUDGETS, PLANS])
async def test_nothing_new_starts_on_what_cannot_be_read(resource: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()
    run.cluster.add(BUDGETS, BUDGET)
    with monkeypatch.context() as patched:
        unreadable(run, patched, resource, BROKEN)
        for _ in range(5):
            await run.turn()
            run.cluster.tick(10)
        assert not run.pods
        assert run.status.waiting is not None
        assert run.status.waiting.reason == ("BudgetsUnread" if resource == BUDGETS else "PlansUnread")
        assert BROKEN.message in run.status.waiting.message
    run.cluster.tick(10)
    await run.until_pods()
    assert condition(run, "BudgetAvailable") is not None


@pytest.mark.parametrize("resource", [BUDGETS, PLANS])
async def test_what_runs_goes_on_and_gets_no_successor(resource: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await in_training()
    with monkeypatch.context() as patched:
        unreadable(run, patched, resource, BROKEN)
        run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
        for _ in range(28):
            run.cluster.tick(60)
            await run.turn()
        assert run.status.state == "Running"
        assert run.pods == ["gpt-trn-1-head", "gpt-trn-1-w1-1"]
        assert run.status.waiting is not None
        assert run.status.waiting.reason.endswith("Unread")
    run.cluster.tick(60)
    await run.turn(2)
    assert "gpt-trn-1-w0-2" in run.pods


async def given_back_though_plans_are_unread(run: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is lost that nobody can replace: what stands idle goes after the start deadline of ten minutes, uncounted."""
    unreadable(run, monkeypatch, PLANS, BROKEN)
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    for _ in range(12):
        run.cluster.tick(60)
        await run.drain_step()
    await run.drain()
    record = run.status.history[-1]
    assert (record.reason, record.failure_class, record.held_seconds > 600) == ("PlansUnread", None, True)


async def test_what_stands_idle_as_plans_cannot_be_read_is_given_back_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await in_training()
    run.job["spec"]["startDeadlineSeconds"] = 600
    await given_back_though_plans_are_unread(run, monkeypatch)


async def test_a_plan_that_is_deleted_under_a_run_is_told_at_once() -> None:
    run = await in_training()
    del run.cluster.objects[(PLANS, "", "gpu")]
    run.cluster.tick(6)
    await run.turn()
    told = condition(run, "Accepted")
    assert told is not None
    assert told[:2] == ("False", "PlanNotFound")
    assert run.status.state == "Running"


async def test_budgets_that_cannot_be_read_are_asked_for_once_in_five_seconds() -> None:
    """Each try takes seconds, and the jobs of a namespace wait for each other."""

    class Broken(FakeCluster):
        asked = 0

        async def find(self, *_: Any) -> Found:
            self.asked += 1
            raise BROKEN

    cluster = Broken()
    recent = Recent(cluster, cluster.clock)
    for _ in range(100):
        with pytest.raises(ApiError, match="leader changed"):
            await recent.budgets("team-a")
    assert cluster.asked == 1
    cluster.tick(5)
    with pytest.raises(ApiError):
        await recent.budgets_since("team-a")
    assert cluster.asked == 2


async def test_an_elastic_training_without_enough_workers_is_given_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await elastic(2, 2, 0, 1, startDeadlineSeconds=600)
    await given_back_though_plans_are_unread(run, monkeypatch)


@pytest.mark.parametrize("error", [FORBIDDEN, BROKEN], ids=["forbidden", "broken"])
async def test_templates_that_cannot_be_read_keep_no_job_from_settling_and_stopping(
    error: ApiError, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await in_training()
    run.cluster.tick(20)
    set_pod(run, env=[{"name": "A", "value": "2"}])
    await run.turn(2)
    unreadable(run, monkeypatch, CONFIG_MAPS, error)
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    await run.turn(3)
    assert run.pods == ["gpt-trn-1-head", "gpt-trn-1-w1-1"], "the dead one is settled and gone"
    assert run.status.waiting is not None
    assert (run.status.waiting.reason, error.message in run.status.waiting.message) == ("TemplatesUnread", True)
    monkeypatch.undo()
    run.cluster.tick(10)
    await run.turn(2)
    assert "gpt-trn-1-w0-2" in run.pods


async def test_a_job_stops_and_settles_while_each_read_of_a_plan_takes_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """429 with a Retry-After of 30 s, or no answer: by then the pods that were read are too old to act upon."""
    run = await in_training()
    get = run.cluster.get

    async def slow(resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        if resource != PLANS:
            return await get(resource, namespace, name, not_before)
        run.cluster.tick(70)
        raise ApiError(429, "TooManyRequests", "later")

    monkeypatch.setattr(run.cluster, "get", slow)
    run.job["spec"]["suspend"] = True
    await run.drain()
    assert (run.status.state, run.pods) == ("Suspended", [])
    assert run.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster)


async def test_who_lacks_an_evaluator_alone_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario(evaluation=DURING)
    await run.run_training(60)
    unreadable(run, monkeypatch, BUDGETS, BROKEN)
    run.cluster.end_pod("gpt-trn-1-e0-1", 137, reason="Error")
    for _ in range(6):
        run.cluster.tick(10)
        await run.turn()
    assert run.pods == ["gpt-trn-1-head", "gpt-trn-1-w0-1", "gpt-trn-1-w1-1"]
    progressing = condition(run, "Progressing")
    assert progressing is not None
    assert (run.status.waiting, progressing[0]) == (None, "True")


async def test_an_elastic_training_that_goes_on_with_fewer_is_no_job_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await elastic(2, 1, 0, 1)
    unreadable(run, monkeypatch, PLANS, BROKEN)
    run.cluster.end_pod("gpt-trn-1-w1-1", 137, reason="Error")
    for _ in range(6):
        run.cluster.tick(10)
        await run.turn()
    waiting, progressing = run.status.waiting, condition(run, "Progressing")
    assert waiting is not None
    assert (waiting.reason, BROKEN.message in waiting.message) == ("FewerWorkers", True)
    assert progressing is not None
    assert progressing[0] == "True"

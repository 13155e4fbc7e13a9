"""Budgets: what does not fit is not started, what runs ends below its limit, and nobody takes a headroom twice."""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError
from llmtrain_operator.memory import Memory
from llmtrain_operator.names import FINALIZER_JOB
from llmtrain_operator.reconcile import JOBS, Reconciler

from llmtrain.api.status import JobStatus
from llmtrain.api.trainingbudget import TrainingBudgetStatus
from tests.unit.operator.fake_cluster import Crash, FakeCluster
from tests.unit.operator.scenario import Scenario, job_spec, recorded_micro_usd


def add_budget(run: Scenario, limit: str, **spec: Any) -> None:
    body = {"metadata": {"name": "research", "namespace": "team-a"}, "spec": {"limitUsd": limit, **spec}}
    run.cluster.add(BUDGETS, body)


def budget_of(run: Scenario) -> TrainingBudgetStatus:
    return TrainingBudgetStatus.model_validate(run.cluster.objects[(BUDGETS, "team-a", "research")].get("status") or {})


def set_limit(run: Scenario, limit: str) -> None:
    run.cluster.objects[(BUDGETS, "team-a", "research")]["spec"]["limitUsd"] = limit


def condition(run: Scenario, kind: str) -> Any:
    return next(c for c in run.status.conditions if c.type == kind)


async def to_training(run: Scenario) -> None:
    await run.run_stage()
    await run.run_stage()
    await run.turn(3)
    for name in run.pods:
        run.cluster.run_pod(name)


async def test_a_stage_that_does_not_fit_is_not_started_and_says_by_how_much() -> None:
    run = Scenario(budget={"limitUsd": "1.00"})
    await run.run_stage()
    await run.run_stage()
    await run.turn(3)
    assert run.pods == []
    assert run.status.waiting is not None
    assert run.status.waiting.reason == "BudgetExceeded"
    # 710 s of two workers at 3.99 USD an hour: 1.57 USD; the CPU stages cost less than a cent.
    assert "Training may cost 1.57 USD" in run.status.waiting.message
    assert "raise `spec.budget.limitUsd` by 0.5" in run.status.waiting.message
    assert condition(run, "BudgetAvailable").status == "False"


async def test_a_budget_that_another_job_asked_for_meanwhile_starts_no_cluster_that_is_stopped_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever was read while a reservation was written is old news in the same second."""
    run, replace = Scenario(), FakeCluster.replace
    add_budget(run, "100000")
    shared = Reconciler(run.cluster, run.cluster.clock, "jobs:1")

    async def replace_while_another_reads(
        resource: str, namespace: str, name: str, body: dict[str, Any], subresource: str = ""
    ) -> dict[str, Any]:
        if resource == BUDGETS:
            await shared.recent.budgets("team-a")
        return await replace(run.cluster, resource, namespace, name, body, subresource)

    async def turn(times: int = 1) -> None:
        for _ in range(times):
            with suppress(ApiError):
                await shared.turn("team-a", "gpt", run.memory)

    monkeypatch.setattr(run.cluster, "replace", replace_while_another_reads)
    for stage in range(4):
        await turn(8)
        assert not run.pods or budget_of(run).held
        run.cluster.tick(2)
        await turn()
        assert run.status.stages[stage].state == "Running"
        for name in run.pods:
            run.cluster.run_pod(name)
        await turn(2)
        run.end_head()
        for _ in range(8):
            await turn()
            for pod in run.cluster.of("api/v1/pods"):
                if "deletionTimestamp" in pod["metadata"] and pod["status"].get("phase") == "Running":
                    run.cluster.end_pod(pod["metadata"]["name"], 75)
    assert [stage.attempt for stage in run.status.stages] == [1, 1, 1, 1]


async def test_the_reservation_is_in_the_budget_before_the_first_pod_of_a_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Scenario()
    add_budget(run, "100")
    held: list[int] = []
    create = run.cluster.create

    async def watch(resource: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        if resource == "api/v1/pods":
            held.append(budget_of(run).held)
        return await create(resource, namespace, body)

    monkeypatch.setattr(run.cluster, "create", watch)
    await to_training(run)
    assert len(held) == 6
    assert all(held)
    assert held[-1] > 1_500_000


async def test_the_namespace_budget_says_by_how_much_and_a_higher_limit_starts_the_stage() -> None:
    run = Scenario()
    add_budget(run, "1.00")
    await run.run_stage()
    await run.run_stage()
    await run.turn(3)
    assert run.pods == []
    assert run.status.waiting is not None
    assert "raise `spec.limitUsd` of TrainingBudget `research` by 0.5" in run.status.waiting.message
    assert budget_of(run).held == run.status.ledger.total_micro_usd
    set_limit(run, "2.00")
    await run.turn(3)
    assert "gpt-trn-1-head" in run.pods


async def test_a_budget_that_only_warns_stops_nothing() -> None:
    run = Scenario(budget={"limitUsd": "0.01", "onBreach": "Warn"})
    add_budget(run, "0.01", onBreach="Warn")
    await to_training(run)
    run.cluster.tick(600)
    await run.turn(3)
    assert len(run.pods) == 3
    assert condition(run, "BudgetAvailable").status == "False"


async def test_a_budget_of_other_jobs_is_left_alone() -> None:
    run = Scenario()
    add_budget(run, "0.01", jobSelector={"matchLabels": {"team": "vision"}})
    await to_training(run)
    assert len(run.pods) == 3
    assert budget_of(run).reservations == []


async def until(run: Scenario, state: str, limit_seconds: int = 4000) -> None:
    for _ in range(limit_seconds // 10):
        if run.status.state == state and not run.pods:
            return
        await run.drain_step()
        run.cluster.tick(9)
    raise AssertionError(f"not {state}: {run.status.state}")


@pytest.mark.parametrize(("action", "state"), [("Suspend", "Suspended"), ("Fail", "Failed")])
async def test_a_breach_saves_and_ends_below_the_limit(action: str, state: str) -> None:
    run = Scenario(budget={"limitUsd": "3.00", "onBreach": action})
    await to_training(run)
    await until(run, state)
    assert run.status.stages[2].message.startswith("BudgetExceeded")
    assert 2_700_000 < recorded_micro_usd(run.cluster) == run.status.ledger.total_micro_usd <= 3_000_000


async def test_a_stopped_job_does_not_start_again_for_the_rest_and_goes_on_once_the_limit_is_raised() -> None:
    run = Scenario(budget={"limitUsd": "3.00"})
    await to_training(run)
    await until(run, "Suspended")
    run.cluster.tick(600)
    await run.turn(5)
    assert run.pods == []
    run.job["spec"]["budget"]["limitUsd"] = "6.00"
    await run.turn(3)
    assert "gpt-trn-2-head" in run.pods


async def test_a_share_of_the_budget_is_warned_of_once() -> None:
    run = Scenario(budget={"limitUsd": "3.00", "warnAtShare": ["0.2", "0.5"]})
    await to_training(run)
    await until(run, "Suspended")
    told = [e["message"] for e in run.cluster.of("api/v1/events") if e["reason"] == "BudgetWarning"]
    assert [message.split(" spent, ")[1][:3] for message in told] == ["20%", "50%"]


async def test_a_reservation_grows_with_the_run_and_is_given_back_at_its_end() -> None:
    run = Scenario()
    add_budget(run, "10")
    await to_training(run)
    first = budget_of(run).held
    for _ in range(60):
        run.cluster.tick(9)
        await run.drain_step()
        if "gpt-trn-2-head" in run.pods:
            break
    assert run.status.history[-1].reason == "BudgetExtended"
    spent = run.status.ledger.total_micro_usd
    assert budget_of(run).held == pytest.approx(spent + (10_000_000 - spent) // 2, abs=2)
    assert budget_of(run).held > first
    await run.turn()
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    run.end_head()
    await run.drain()
    await run.turn(2)
    assert budget_of(run).held >= run.status.ledger.total_micro_usd
    await run.run_stage()
    await run.turn(2)
    assert run.status.state == "Succeeded"
    assert budget_of(run).held == budget_of(run).spent == recorded_micro_usd(run.cluster)


async def delete_job(run: Scenario) -> None:
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    for _ in range(40):
        if not run.cluster.of(JOBS):
            return
        await run.drain_step()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_crash_at_any_write_leaves_the_budget_with_what_was_spent(moment: str) -> None:
    async def life(crash: int) -> Scenario:
        run = Scenario()
        add_budget(run, "10")
        run.cluster.crash_at = (crash, moment)
        await run.run_stage(10)
        try:
            await delete_job(run)
        except Crash:
            # The deletion itself is the user's write; he tries again.
            run.cluster.crash_at = None
            await delete_job(run)
        return run

    writes = (await life(0)).cluster.writes
    for number in range(1, writes + 1):
        run = await life(number)
        assert run.cluster.of(JOBS) == []
        assert budget_of(run).reservations == [], f"crash {moment} write {number}"
        assert budget_of(run).booked_micro_usd == recorded_micro_usd(run.cluster), f"crash {moment} write {number}"


async def test_a_new_month_counts_anew_and_leaves_running_jobs_what_they_hold() -> None:
    run = Scenario()
    add_budget(run, "10")
    await to_training(run)
    run.cluster.tick(30)
    await run.turn()
    before = budget_of(run)
    run.cluster.now += timedelta(days=31)
    await run.turn(2)
    after = budget_of(run)
    assert (before.period_start, after.period_start) == ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    assert after.reservations[0].baseline_micro_usd > before.spent > 0, "with what it spent in March after that"


def jobs_of(run: Scenario, count: int) -> list[str]:
    names = [f"job-{number}" for number in range(count)]
    for name in names:
        body = {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "LLMTrainingJob", "spec": job_spec()}
        run.cluster.add(JOBS, body | {"metadata": {"name": name, "namespace": "team-a", "finalizers": [FINALIZER_JOB]}})
    return names


@pytest.mark.parametrize("seed", range(6))
async def test_jobs_that_race_for_one_headroom_never_exceed_it(seed: int) -> None:
    await race(seed)


async def race(seed: int) -> None:
    """Turns of several operators interleave at every await; each write may meet one that was faster."""
    run, rng = Scenario(), random.Random(seed)
    limit = rng.randint(2000, 9000)
    add_budget(run, f"0.{limit:06d}")
    names = jobs_of(run, 4)
    for method in ("get", "find", "replace"):
        slow(run, method, rng)

    async def operate(name: str) -> None:
        reconciler = Reconciler(run.cluster, run.cluster.clock, "jobs:1")
        for _ in range(12):
            try:
                await reconciler.turn("team-a", name, Memory())
            except ApiError as error:
                if error.code != 409:
                    raise
            assert budget_of(run).held <= limit

    await asyncio.gather(*(operate(name) for name in names for _ in range(2)))
    states = [JobStatus.model_validate(body.get("status") or {}) for body in run.cluster.of(JOBS)]
    running = [s for s in states if s.state == "Running"]
    # Preflight: 710 s of a quarter core and half a GiB.
    reservation = round(710 * (0.25 * 31611 + 0.5 * 4237) / 3600)
    assert len(running) == min(4, limit // reservation)


def slow(run: Scenario, method: str, rng: random.Random) -> None:
    fast = getattr(run.cluster, method)

    async def call(*arguments: Any, **named: Any) -> Any:
        for _ in range(rng.randint(0, 3)):
            await asyncio.sleep(0)
        return await fast(*arguments, **named)

    setattr(run.cluster, method, call)


# Jobs that do run into their limit within the turns; five hundred more in tests/long.
@pytest.mark.parametrize("seed", [0, 2, 3, 4, 5, 9])
async def test_a_running_job_on_a_budget_never_ends_above_its_limit(seed: int) -> None:
    await run_into_the_limit(seed)


async def run_into_the_limit(seed: int) -> None:
    """Any prices, increments, minimums, kubelet and operator delays within what is promised; saves that take all."""
    rng = random.Random(seed)
    run = Scenario(startDeadlineSeconds=600)
    plan = run.cluster.objects[("apis/llmtrain.dev/v1alpha1/computeplans", "", "gpu")]["spec"]["rented"]
    plan |= {
        "acceleratorHourUsd": f"{rng.uniform(0.5, 40):.2f}",
        "incrementSeconds": rng.choice([1, 1, 60, 600, 3600]),
        "minimumSeconds": rng.choice([0, 60, 600]),
    }
    where = rng.choice(["job", "namespace", "both"])
    limit = rng.uniform(2, 60)
    if where != "namespace":
        run.job["spec"]["budget"] = {"limitUsd": f"{limit:.2f}"}
    if where != "job":
        add_budget(run, f"{limit:.2f}")
    save = rng.randint(1, 59)
    for _ in range(600):
        await run.turn()
        kubelet(run, rng, save)
        run.cluster.tick(rng.randint(1, 15))
        assert recorded_micro_usd_running(run) <= limit * 1e6 + 1
        if run.status.state in ("Suspended", "Failed", "Succeeded") and not run.pods:
            break
    assert run.status.ledger.total_micro_usd <= round(limit, 2) * 1_000_000


def kubelet(run: Scenario, rng: random.Random, save: int) -> None:
    """Starts pods, ends CPU stages well, kills and saves late, reports late."""
    for pod in run.cluster.of("api/v1/pods"):
        name, meta = pod["metadata"]["name"], pod["metadata"]
        running = pod["status"].get("phase") == "Running"
        if not pod["spec"].get("nodeName"):
            run.cluster.run_pod(name)
        elif "deletionTimestamp" in meta and running:
            asked = pod.setdefault("_asked", run.cluster.now)
            wait = min(save, meta["deletionGracePeriodSeconds"])
            if (run.cluster.now - asked).total_seconds() >= wait:
                run.cluster.end_pod(name, 75)
        elif running and "-trn-" not in name and name.endswith("head"):
            run.end_head()
        elif running and name.endswith("-w0-1") and rng.random() < 0.02:
            run.cluster.end_pod(name, 137, reason="Error")


def recorded_micro_usd_running(run: Scenario) -> int:
    return sum(entry.cost_micro_usd for entry in run.status.ledger.entries)

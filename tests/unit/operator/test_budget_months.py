"""What a TrainingBudget says is spent is what the pods of its jobs cost in its period, whatever people change and whenever a month ends.

The bill is worked out a second time from the pods, as `bill_at` does.
"""

import random
from datetime import UTC, datetime, timedelta

import pytest
from llmtrain_operator.reconcile import JOBS

from llmtrain.api.trainingbudget import Period
from tests.unit.operator.scenario import Scenario
from tests.unit.operator.test_budget_changes import KEY, add_budget, bill_at, budget_of

SELECTOR = {"matchLabels": {"team": "nlp"}}


def scenario(now: datetime) -> Scenario:
    """A job that was made then and is a member."""
    run = Scenario()
    run.cluster.now = now
    run.job["metadata"]["creationTimestamp"] = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    run.job["metadata"]["labels"] = {"team": "nlp"}
    return run


async def work(run: Scenario, seconds: int, midnight: bool = False, away: bool = False) -> None:
    """The next stage's pods run for so long, over the end of the month if so wanted, and are taken down again.

    `away`: nobody looks from before the end of the month until all pods have ended.
    """
    if midnight:
        run.cluster.now = next_month(run.cluster.now) - timedelta(seconds=seconds // 2)
    run.job["spec"]["suspend"] = False
    await run.until_pods()
    await run.turn(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn(0 if away else 2)
    run.cluster.tick(seconds // 3)
    await run.turn(0 if away else 1)
    run.cluster.tick(seconds - seconds // 3)
    if away:
        for name in run.pods:
            run.cluster.end_pod(name, 1)
        run.cluster.tick(3600)
    await rest(run)


async def rest(run: Scenario) -> None:
    run.job["spec"]["suspend"] = True
    await run.drain()
    await run.turn(3)
    assert run.pods == []


def next_month(now: datetime) -> datetime:
    return (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


def began(period: Period, now: datetime) -> datetime:
    month = {Period.MONTH: now.month, Period.QUARTER: 3 * ((now.month - 1) // 3) + 1}.get(period, 1)
    return datetime(1970 if period is Period.TOTAL else now.year, month, 1, tzinfo=UTC)


async def spent(run: Scenario) -> dict[Period, int]:
    """As the budget tells it, in each period that it is given."""
    found = {}
    for period in Period:
        run.cluster.objects[KEY]["spec"]["period"] = period.value
        run.cluster.tick(1)
        await run.turn(2 if run.cluster.of(JOBS) else 0)
        found[period] = budget_of(run).status.spent
    return found


def owed(run: Scenario) -> dict[Period, int]:
    """What the pods have cost since each period began."""
    now = run.cluster.now
    return {period: bill_at(run, now) - bill_at(run, began(period, now)) for period in Period}


@pytest.mark.parametrize("period", Period)
async def test_a_budget_made_again_counts_what_a_job_of_last_month_has_spent_since_it_began(period: Period) -> None:
    run = scenario(datetime(2026, 2, 20, 12, tzinfo=UTC))
    await work(run, 100)
    run.cluster.now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    await work(run, 700)
    add_budget(run, "100", period=period.value)
    run.cluster.tick(2)
    await run.turn(3)
    assert budget_of(run).status.spent == owed(run)[period] > 0
    assert await spent(run) == owed(run)


@pytest.mark.parametrize("away", [False, True])
async def test_a_job_that_is_deleted_over_two_month_ends_is_counted_where_it_ran(away: bool) -> None:
    """Its last note is of February; what it spent until the end of that, in March and in April is known once it is let go."""
    run = scenario(datetime(2026, 2, 20, 12, tzinfo=UTC))
    add_budget(run, "10000")
    await work(run, 400)
    await work(run, 1000, midnight=True, away=away)
    run.cluster.now = datetime(2026, 4, 3, tzinfo=UTC)
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    while run.cluster.of(JOBS):
        await run.drain_step()
    assert budget_of(run).status.reservations == []
    assert await spent(run) == owed(run)
    assert [one.month for one in budget_of(run).status.earlier] == ["2026-02", "2026-03"]


@pytest.mark.parametrize("seed", range(8))
async def test_a_budget_says_what_the_pods_of_its_jobs_cost_whatever_people_change(seed: int) -> None:
    rng = random.Random(seed)
    run = scenario(datetime(2026, rng.randint(1, 9), rng.randint(1, 27), 12, tzinfo=UTC))
    period = rng.choice(list(Period))
    add_budget(run, "100000", period=period.value, jobSelector=SELECTOR)
    for _ in range(6):
        match rng.choice(["work", "midnight", "away", "labels", "again", "period", "month"]):
            case "work":
                await work(run, rng.randint(1, 3000))
            case "midnight":
                await work(run, rng.randint(4, 3000), midnight=True)
            case "away":
                await work(run, rng.randint(4, 3000), midnight=True, away=True)
            case "labels" if budget_of(run).status.reservations:
                run.job["metadata"]["labels"] = {"team": rng.choice(["nlp", "vision"])}
            case "again" if run.job["metadata"]["labels"] == {"team": "nlp"}:
                del run.cluster.objects[KEY]
                add_budget(run, "100000", period=rng.choice(list(Period)).value, jobSelector=SELECTOR)
            case "period":
                run.cluster.objects[KEY]["spec"]["period"] = rng.choice(list(Period)).value
            case "month":
                run.cluster.now = next_month(run.cluster.now) + timedelta(seconds=rng.randint(0, 20 * 86400))
        await rest(run)
        run.cluster.tick(rng.randint(1, 90))
        await run.turn(2)
        if run.status.state in ("Succeeded", "Failed"):
            break
    expected = owed(run)
    assert await spent(run) == expected
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    while run.cluster.of(JOBS):
        await run.drain_step()
    assert await spent(run) == expected

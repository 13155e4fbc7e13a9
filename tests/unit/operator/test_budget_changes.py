"""What people change under a budget that counts: labels, limit, period, the budget itself. No job leaves, nothing is forgotten."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from llmtrain_operator.billing import format_time
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.budget_state import BudgetState, body_of, read_budget, with_conditions, with_entry, without_entry
from llmtrain_operator.reconcile import JOBS

from llmtrain.api.job import OnBreach
from llmtrain.api.trainingbudget import MonthSpent, Period, Reservation, TrainingBudgetStatus
from tests.unit.operator.scenario import Scenario, recorded_micro_usd

KEY = (BUDGETS, "team-a", "research")
MONTH = "2026-03-01T00:00:00Z"
MARCH, APRIL = datetime(2026, 3, 20, 12, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)


def add_budget(run: Scenario, limit: str, **spec: Any) -> None:
    run.cluster.add(
        BUDGETS, {"metadata": {"name": "research", "namespace": "team-a"}, "spec": {"limitUsd": limit, **spec}}
    )


def budget_of(run: Scenario) -> BudgetState:
    return read_budget(run.cluster.objects[KEY], run.cluster.now)


async def until_over(run: Scenario, seconds: int = 7200) -> None:
    """Until the job has stopped and given back what it did not spend."""
    for _ in range(seconds // 15):
        await run.drain_step()
        run.cluster.tick(14)
        if run.status.state in ("Suspended", "Succeeded", "Failed") and not run.pods:
            await run.turn(2)
            return
    raise AssertionError(f"it is {run.status.state} at {run.status.ledger.cost_usd} USD")


SELECTORS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {
    "label taken off": ({"matchLabels": {"team": "nlp"}}, {"team": "nlp"}, {}),
    "label of another team": ({"matchLabels": {"team": "nlp"}}, {"team": "nlp"}, {"team": "vision"}),
    "label that is excluded": (
        {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]}, {}, {"free": "yes"},
    ),
    "value that is excluded": (
        {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["x"]}]}, {"team": "nlp"}, {"team": "x"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", SELECTORS)
async def test_a_running_job_does_not_leave_a_budget_by_its_labels(way: str) -> None:
    selector, before, after = SELECTORS[way]
    run = Scenario()
    add_budget(run, "2.00", jobSelector=selector)
    run.job["metadata"]["labels"] = before
    await run.run_training(60)
    run.job["metadata"]["labels"] = after
    await until_over(run)
    assert run.status.state == "Suspended"
    assert 1_500_000 < run.status.ledger.total_micro_usd <= 2_000_000
    (entry,) = budget_of(run).status.reservations
    assert (entry.spent_micro_usd, entry.reserved_micro_usd) == (run.status.ledger.total_micro_usd, 0)


async def test_a_job_with_other_labels_counts_where_it_has_reserved_until_it_is_deleted() -> None:
    run = Scenario()
    add_budget(run, "100", jobSelector={"matchLabels": {"team": "nlp"}})
    run.job["metadata"]["labels"] = {"team": "nlp"}
    await run.run_training(60)
    run.job["spec"]["suspend"], run.job["metadata"]["labels"] = True, {"team": "vision"}
    await until_over(run)
    assert budget_of(run).status.held == run.status.ledger.total_micro_usd
    run.job["spec"]["suspend"] = False
    await run.until_pods()
    assert budget_of(run).status.reserved > 0, "it goes on at the expense of the same budget"
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    while run.cluster.of(JOBS):
        await run.drain_step()
    assert budget_of(run).status.booked_micro_usd == recorded_micro_usd(run.cluster)


async def test_another_selector_releases_no_job_that_has_reserved() -> None:
    run = Scenario()
    add_budget(run, "2.00")
    await run.run_training(60)
    run.cluster.objects[KEY]["spec"]["jobSelector"] = {"matchLabels": {"team": "vision"}}
    await until_over(run)
    assert run.status.ledger.total_micro_usd <= 2_000_000


async def test_a_limit_below_what_is_reserved_stops_a_running_job_within_it() -> None:
    run = Scenario()
    add_budget(run, "100")
    await run.run_training(60)
    assert budget_of(run).status.reserved > 5_000_000
    run.cluster.objects[KEY]["spec"]["limitUsd"] = "3.00"
    await run.turn()
    ends = [pod["spec"]["activeDeadlineSeconds"] for pod in run.cluster.of("api/v1/pods")]
    assert max(ends) < 3600 * 3 / 7, "it ends in time without an operator, too"
    await until_over(run)
    assert run.status.stages[2].message.startswith("BudgetExceeded")
    assert 2_500_000 < run.status.ledger.total_micro_usd <= 3_000_000


async def test_a_limit_below_what_is_spent_stops_a_running_job_at_once() -> None:
    run = Scenario()
    add_budget(run, "100")
    await run.run_training(600)
    run.cluster.objects[KEY]["spec"]["limitUsd"] = "0.50"
    await run.turn()
    assert run.status.state == "Stopping"


async def test_a_limit_that_is_raised_again_goes_on() -> None:
    run = Scenario()
    add_budget(run, "100")
    await run.run_training(60)
    run.cluster.objects[KEY]["spec"]["limitUsd"] = "2.00"
    await until_over(run)
    run.cluster.objects[KEY]["spec"]["limitUsd"] = "100"
    await run.turn(3)
    assert "gpt-trn-2-head" in run.pods


@pytest.mark.parametrize("seed", range(20))
def test_reservations_above_a_lowered_limit_come_down_to_it_together(seed: int) -> None:
    """However soon each job hears of it, and whoever notes what it has spent meanwhile."""
    rng = random.Random(seed)
    entries = [
        Reservation(
            uid=f"u{n}", job=f"j{n}", baseline_micro_usd=rng.randint(0, 99), spent_micro_usd=rng.randint(0, 500_000),
            reserved_micro_usd=rng.choice([0, rng.randint(1, 900_000)]), update_time=format_time(MARCH),
        )
        for n in range(rng.randint(1, 9))
    ]  # fmt: skip
    booked = rng.randint(0, 100_000)
    status = TrainingBudgetStatus(month_start=MONTH, reservations=entries, booked_micro_usd=booked)
    limit = rng.randint(0, status.held * 5 // 4)
    budget = budget_with(status, limitUsd=f"{limit / 1e6:.6f}")
    more = [budget.granted(entry) - entry.baseline_micro_usd for entry in entries]
    assert sum(more) + booked <= max(limit, status.spent)
    assert all(grant >= entry.spent_micro_usd for grant, entry in zip(more, entries, strict=True))
    assert (budget.granted(entries[0]) == entries[0].ceiling) or status.held > limit
    lost = max(0, status.held - max(limit, status.spent))
    assert sum(entry.held for entry in entries) - sum(more) <= lost + len(entries), "nobody gives up more than is asked"


@pytest.mark.parametrize(
    ("reserved", "action", "words"),
    [
        (2_000_000, OnBreach.SUSPEND, "may spend 50% of what they have reserved, then they stop"),
        (2_000_000, OnBreach.WARN, "`onBreach: Warn` stops no job"),
        (0, OnBreach.SUSPEND, "nothing starts"),
        (9_000_000, OnBreach.FAIL, "may spend 11% of what they have reserved"),
    ],
)
def test_the_budget_says_what_follows_from_a_limit_below_what_is_held(
    reserved: int, action: OnBreach, words: str
) -> None:
    spent = 1_000_000 if reserved else 5_000_000
    entry = Reservation(uid="u", job="j", spent_micro_usd=spent, reserved_micro_usd=reserved)
    budget = budget_with(
        TrainingBudgetStatus(month_start=MONTH, reservations=[entry]), limitUsd="2.00", onBreach=action.value
    )
    within = next(c for c in with_conditions(budget, MARCH).conditions if c.type == "WithinLimit")
    assert (within.status, within.reason) == ("False", "LimitExceeded")
    assert words in within.message


@pytest.mark.parametrize(("seconds_without", "limit"), [(0, "100"), (40, "100"), (0, "5000"), (40, "9")])
async def test_a_budget_deleted_and_made_again_reserves_no_more_and_forgets_nothing(
    seconds_without: int, limit: str
) -> None:
    run = Scenario()
    add_budget(run, "100")
    await run.run_training(60)
    (before,) = budget_of(run).status.reservations
    del run.cluster.objects[KEY]
    run.cluster.tick(seconds_without)
    await run.turn(1 if seconds_without else 0)
    add_budget(run, limit)
    run.cluster.tick(15)
    await run.turn(3)
    (after,) = budget_of(run).status.reservations
    assert after.spent_micro_usd >= run.status.ledger.total_micro_usd >= before.spent_micro_usd
    assert 0 < after.ceiling <= before.ceiling


async def test_a_budget_that_comes_to_a_running_job_grants_as_for_a_start() -> None:
    """A first attempt takes a tenth of what is left; half would keep the others out."""
    run = Scenario()
    await run.run_training(60)
    add_budget(run, "100")
    await run.turn(3)
    (entry,) = budget_of(run).status.reservations
    assert 9_500_000 < entry.held < 11_000_000
    await run.turn()
    assert max(pod["spec"]["activeDeadlineSeconds"] for pod in run.cluster.of("api/v1/pods")) < 5000


def budget_with(status: TrainingBudgetStatus, now: datetime = MARCH, **spec: Any) -> BudgetState:
    metadata = {"name": "research", "namespace": "team-a", "generation": 1}
    return read_budget({"metadata": metadata, "spec": {"limitUsd": "100", **spec}, "status": status.to_dict()}, now)


def entry_of(uid: str, before: int, spent: int, time: datetime = MARCH) -> Reservation:
    return Reservation(
        uid=uid,
        job=uid,
        baseline_micro_usd=before,
        spent_micro_usd=spent,
        reserved_micro_usd=50,
        update_time=format_time(time),
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [(Period.TOTAL, Period.MONTH), (Period.YEAR, Period.QUARTER), (Period.MONTH, Period.TOTAL)],
)
async def test_another_period_and_back_forgets_nothing(first: Period, second: Period) -> None:
    run = Scenario()
    add_budget(run, "100", period=first.value)
    await run.run_training(60)
    for period in (second, first):
        run.cluster.objects[KEY]["spec"]["period"] = period.value
        run.cluster.tick(61)
        await run.turn(2)
        status = budget_of(run).status
        assert status.spent == run.status.ledger.total_micro_usd > 0, period
        assert run.cluster.objects[KEY]["status"]["spentUsd"] == run.status.ledger.cost_usd


LIFE = [
    ("2025-11", 1),
    ("2025-12", 2),
    ("2026-01", 4),
    ("2026-02", 8),
    ("2026-03", 16),
    ("2026-04", 32),
    ("2026-05", 64),
]
"""What a job spends in each month, microdollars; another is deleted each month after it has spent a hundred times that."""
COUNTED = {Period.MONTH: 64, Period.QUARTER: 32 + 64, Period.YEAR: 4 + 8 + 16 + 32 + 64, Period.TOTAL: 127}


@pytest.mark.parametrize("begun", Period)
@pytest.mark.parametrize("asked", Period)
def test_what_was_spent_in_months_that_are_over_counts_in_periods_that_have_them(begun: Period, asked: Period) -> None:
    body: dict[str, Any] = body_of(budget_with(TrainingBudgetStatus()), TrainingBudgetStatus())
    body["spec"]["period"] = begun.value
    for month, amount in LIFE:
        now = datetime.fromisoformat(f"{month}-15T00:00:00+00:00")
        budget = read_budget(body, now)
        known = budget.entry("lives")
        before = known.baseline_micro_usd + known.spent_micro_usd if known else 0
        body = body_of(budget, with_entry(budget, entry_of("lives", before, amount, now)))
        budget = read_budget(body, now)
        body = body_of(budget, with_entry(budget, entry_of(month, 0, 100 * amount, now)))
        budget = read_budget(body, now)
        body = body_of(budget, without_entry(budget, month, 100 * amount, format_time(now)))
    body["spec"]["period"] = asked.value
    budget = read_budget(body, datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC))
    assert budget.status.spent == 101 * COUNTED[asked]
    assert budget.status.held == budget.status.spent + 50
    assert len(budget.status.earlier) <= 6
    assert read_budget(body, datetime(2026, 5, 1, tzinfo=UTC)).status.spent == budget.status.spent
    behind = read_budget(body, datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC))
    assert behind.status.spent == budget.status.spent, "a clock that is behind turns nothing back"


@pytest.mark.parametrize(
    ("period", "start", "spent"),
    [
        ("Month", "2026-03-01T00:00:00Z", 7),
        ("Year", "2026-01-01T00:00:00Z", 7),
        ("Total", "", 7),
        ("Month", "2026-02-01T00:00:00Z", 0),
    ],
)
def test_a_budget_that_an_earlier_version_wrote_counts_on(period: str, start: str, spent: int) -> None:
    entry = Reservation(uid="a", job="a", baseline_micro_usd=1, spent_micro_usd=5, reserved_micro_usd=9)
    status = TrainingBudgetStatus(period_start=start, booked_micro_usd=2, reservations=[entry])
    budget = budget_with(status, period=period)
    assert budget.status.spent == spent
    assert budget.status.held == spent + 9
    assert budget.status.reservations[0].ceiling == entry.ceiling


@pytest.mark.parametrize("period", ["Month", "Total"])
@pytest.mark.parametrize("away", [0, 3600])
@pytest.mark.parametrize("ends", [False, True])
async def test_a_month_rolls_over_by_what_was_spent_at_its_end(period: str, away: int, ends: bool) -> None:
    """Whether or not the operator was there at midnight, and whether or not the pods still are when it comes back."""
    run = Scenario()
    add_budget(run, "10000", period=period)
    await run.run_training(60)
    run.cluster.now = APRIL - timedelta(seconds=away or 7)
    await run.turn()
    run.cluster.now = APRIL + timedelta(seconds=away // 2 or 5)
    if ends:
        run.end_head()
    run.cluster.tick(away // 2)
    await run.turn(3)
    at_midnight = bill_at(run, APRIL)
    (entry,) = budget_of(run).status.reservations
    assert entry.baseline_micro_usd == at_midnight > 1_000_000
    run.job["spec"]["suspend"] = True
    await run.drain()
    await run.turn(2)
    assert run.pods == []
    status, whole = budget_of(run).status, run.status.ledger.total_micro_usd
    assert status.spent == whole - (at_midnight if period == "Month" else 0)


async def test_what_was_spent_before_the_turn_of_the_year_is_of_that_year_though_the_operator_was_away_for_weeks() -> (
    None
):
    """It sees the last of December at eleven, pods end at five on New Year's day, and it comes back in February."""
    new_year, run = datetime(2027, 1, 1, tzinfo=UTC), Scenario()
    add_budget(run, "10000", period="Year")
    run.cluster.now = new_year - timedelta(hours=6)
    await run.run_training(60)
    run.cluster.now = new_year - timedelta(hours=1)
    await run.turn()
    run.cluster.now = new_year + timedelta(hours=5)
    for name in list(run.pods):
        run.cluster.end_pod(name, 137)
    run.job["spec"]["suspend"] = True
    run.cluster.now = datetime(2027, 2, 3, tzinfo=UTC)
    await run.turn(4)
    await run.drain()
    status, december = budget_of(run).status, bill_at(run, new_year)
    assert december > 6 * 3_990_000 > status.this_month == 0
    assert [(one.month, one.micro_usd) for one in status.earlier] == [
        ("", december),
        ("2027-01", recorded_micro_usd(run.cluster) - december),
    ]
    assert status.spent == 5 * 2 * 3_990_000


def bill_at(run: Scenario, moment: datetime) -> int:
    """What all pods had come to by then: dollars an hour of the annotation, whole seconds, a minute at least."""
    pods = {**run.cluster.final_pods, **{pod["metadata"]["uid"]: pod for pod in run.cluster.of("api/v1/pods")}}
    total = 0
    for pod in pods.values():
        placed = next(c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")
        begin, end = datetime.fromisoformat(placed), moment
        told = [one["state"].get("terminated") for one in pod["status"].get("containerStatuses", [])]
        if told and all(told):
            end = min(end, max(datetime.fromisoformat(one["finishedAt"]) for one in told))
        total += micro_usd_of(pod, int((end - begin).total_seconds()))
    return total


def micro_usd_of(pod: dict[str, Any], seconds: int) -> int:
    price = json.loads(pod["metadata"]["annotations"]["llmtrain.dev/price"])
    billed = max(seconds, price["minimumSeconds"]) if seconds > 0 else 0
    return round(billed * int(price["microUsdPerHour"]) / 3600)


async def test_a_job_deleted_over_the_end_of_a_month_is_booked_in_both() -> None:
    run = Scenario()
    add_budget(run, "10000")
    await run.run_training(60)
    run.cluster.now = APRIL - timedelta(seconds=20)
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    await run.turn(2)
    run.cluster.now = APRIL + timedelta(seconds=20)
    while run.cluster.of(JOBS):
        await run.drain_step()
    status, whole = budget_of(run).status, recorded_micro_usd(run.cluster)
    assert [one.month for one in status.earlier] == ["2026-03"]
    assert status.booked_micro_usd + status.earlier[0].micro_usd == whole
    # Two GPUs at 3.99 USD for the 20 s before, and at most a minute after it.
    assert 2 * 20 * 1108 < status.booked_micro_usd < 2 * 60 * 1200


@pytest.mark.parametrize(
    ("now", "ended", "booked", "march"),
    [(MARCH, MARCH, 20, 0), (APRIL, APRIL, 15, 5), (APRIL, MARCH, 0, 20)],
)
def test_what_a_job_that_is_gone_had_not_noted_is_of_the_month_in_which_it_went(
    now: datetime, ended: datetime, booked: int, march: int
) -> None:
    """Its bill was 10 before March, it noted 5 in March, and was 30 in the end."""
    budget = budget_with(TrainingBudgetStatus(month_start=MONTH, reservations=[entry_of("a", 10, 5)]), now)
    status = without_entry(budget, "a", 30, format_time(ended))
    assert status.booked_micro_usd == booked
    assert status.earlier == ([MonthSpent(month="2026-03", micro_usd=march)] if march else [])
    assert status.reservations == []

"""A budget holds while no operator runs: the kubelet ends the pods before their bills, added up, reach the limit."""

import random
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from llmtrain_operator.lifetime import Share, affordable_seconds
from llmtrain_operator.pricing import Price

from tests.unit.operator.fake_cluster import stamp
from tests.unit.operator.scenario import Scenario, recorded_micro_usd
from tests.unit.operator.test_budget import add_budget, budget_of, to_training

WORKER_HOUR = 3_990_000
"""Microdollars of one worker's hour in the scenario; its head is free."""
LONGEST = 86400


def lifetime(run: Scenario, name: str) -> int:
    return int(run.cluster.pod(name)["spec"]["activeDeadlineSeconds"])


def price(hour: int, increment: int = 1, minimum: int = 0) -> Price:
    return Price("p", "1", "Rented", hour, increment, minimum)


def bill(each: Price, seconds: int) -> int:
    """The bill of a pod by its rule, in fractions."""
    billed = -(-seconds // each.incrementSeconds) * each.incrementSeconds
    return round(Fraction(max(billed, each.minimumSeconds) * each.microUsdPerHour, 3600))


def test_without_increments_the_seconds_are_what_is_left_over_the_burn() -> None:
    shares = [Share(price(36_000), 0), Share(price(360_000), 20, 4)]
    # 410 microdollars a second, 4 x 100 x 20 of them for what comes after the deadline.
    assert affordable_seconds(8000 + 410 * 777, shares, LONGEST) == 777
    assert affordable_seconds(8000 + 410 * 777 - 1, shares, LONGEST) == 776


def test_nothing_left_affords_nothing_and_what_is_free_lives_longest() -> None:
    assert affordable_seconds(0, [Share(price(1_000_000), 75)], LONGEST) == 0
    assert affordable_seconds(-5, [Share(price(1_000_000), 75)], LONGEST) == 0
    assert affordable_seconds(0, [Share(price(0), 75)], LONGEST) == LONGEST
    assert affordable_seconds(10**15, [Share(price(1_000_000), 75)], LONGEST) == LONGEST


@pytest.mark.parametrize("seed", range(40))
def test_the_bills_fit_and_one_second_more_would_not(seed: int) -> None:
    rng = random.Random(seed)
    shares = [
        Share(price(rng.randint(1, 40_000_000), rng.choice([1, 60, 3600]), rng.choice([0, 60, 600])),
              rng.randint(0, 100), rng.randint(1, 9))
        for _ in range(rng.randint(1, 4))
    ]  # fmt: skip

    def owed(seconds: int) -> int:
        return sum(share.count * bill(share.price, seconds + share.beyond) for share in shares)

    room = owed(rng.randint(0, LONGEST)) + rng.randint(0, 1000)
    found = affordable_seconds(room, shares, LONGEST)
    assert owed(found) <= room
    assert found == LONGEST or owed(found + 1) > room


async def test_pods_are_created_with_what_the_limit_pays_for() -> None:
    run = Scenario(budget={"limitUsd": "3.00"})
    await to_training(run)
    spent = run.status.ledger.total_micro_usd
    head, worker = lifetime(run, "gpt-trn-1-head"), lifetime(run, "gpt-trn-1-w0-1")
    # 10 s to be taken, 10 s after the head's deadline, 60 s + 15 s after its own.
    assert worker == head + 10
    assert head == (3_000_000 - spent) * 3600 // (2 * WORKER_HOUR) - 10 - 10 - 75
    grace = [run.cluster.pod(name)["spec"]["terminationGracePeriodSeconds"] for name in run.pods]
    assert grace == [60, 60, 60]


@pytest.mark.parametrize("budget", [None, {"limitUsd": "0.01", "onBreach": "Warn"}, {"limitUsd": "100000"}])
async def test_pods_live_as_long_as_any_where_no_limit_binds(budget: dict[str, str] | None) -> None:
    run = Scenario(**({"budget": budget} if budget else {}))
    await to_training(run)
    assert {lifetime(run, name) for name in run.pods} == {LONGEST}


class Kubelet:
    """Ends pods at their deadline as late as is allowed; asks nobody."""

    def __init__(self, run: Scenario, rng: random.Random) -> None:
        self.run, self.rng = run, rng

    def look(self) -> None:
        for pod in self.run.cluster.of("api/v1/pods"):
            self._look(pod)

    def _look(self, pod: dict[str, Any]) -> None:
        name, meta, cluster = pod["metadata"]["name"], pod["metadata"], self.run.cluster
        if not pod["spec"].get("nodeName"):
            cluster.run_pod(name)
            cluster.pod(name)["status"]["startTime"] = stamp(cluster.now + timedelta(seconds=self.rng.randint(0, 10)))
        if pod["status"].get("phase") != "Running":
            return
        end = datetime.fromisoformat(pod["status"]["startTime"])
        end += timedelta(seconds=pod["spec"]["activeDeadlineSeconds"])
        late = timedelta(seconds=pod["spec"]["terminationGracePeriodSeconds"] + 14)
        if "deletionTimestamp" in meta:
            asked = pod.setdefault("_asked", cluster.now)
            end, late = min(end, asked), timedelta(seconds=self.rng.randint(0, meta["deletionGracePeriodSeconds"]))
        if cluster.now >= end + late:
            cluster.end_pod(name, 75, reason="Error")
            if "deletionTimestamp" not in meta:
                cluster.pod(name)["status"]["reason"] = "DeadlineExceeded"

    def ended(self) -> bool:
        return all(pod["status"].get("phase") == "Failed" for pod in self.run.cluster.of("api/v1/pods"))


def changed(run: Scenario, rng: random.Random) -> None:
    plan = run.cluster.objects[("apis/llmtrain.dev/v1alpha1/computeplans", "", "gpu")]["spec"]["rented"]
    plan |= {
        "acceleratorHourUsd": f"{rng.uniform(0.5, 40):.2f}",
        "incrementSeconds": rng.choice([1, 1, 60, 600, 3600]),
        "minimumSeconds": rng.choice([0, 60, 600]),
    }


# Five hundred more in tests/long.
@pytest.mark.parametrize("seed", range(8))
async def test_a_job_whose_operator_died_never_ends_above_its_limit(seed: int) -> None:
    await die_at_some_time(seed)


async def die_at_some_time(seed: int) -> None:
    """Any prices, increments, minimums and moments; a worker dies before, its successor is bounded as well."""
    rng = random.Random(seed)
    run = Scenario(startDeadlineSeconds=600)
    changed(run, rng)
    limit, shared = round(rng.uniform(2, 60), 2), rng.random() < 0.5
    if shared:
        add_budget(run, f"{limit:.2f}")
    else:
        run.job["spec"]["budget"] = {"limitUsd": f"{limit:.2f}"}
    kubelet, death = Kubelet(run, rng), rng.randint(5, 400)
    await run.run_stage()
    await run.run_stage()
    for second in range(death):
        await run.turn()
        kubelet.look()
        if run.status.state in ("Stopping", "Suspended"):
            break
        if second == death // 2 and "gpt-trn-1-w0-1" in run.pods:
            run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
        run.cluster.tick(rng.randint(1, 9))
    for _ in range(LONGEST):
        if kubelet.ended():
            break
        kubelet.look()
        run.cluster.tick(1)
    assert kubelet.ended()
    spent = recorded_micro_usd(run.cluster)
    assert spent <= limit * 1e6
    await settled(run, kubelet)
    assert sum(entry.cost_micro_usd for entry in run.status.ledger.entries) == spent
    # Of a shared budget no more is promised to one job than it has reserved: there may be more to be had.
    assert shared or not [name for name in run.pods if name.startswith("gpt-trn-2")]


async def settled(run: Scenario, kubelet: Kubelet) -> None:
    """The operator is back: it settles what it finds."""
    for _ in range(80):
        await run.turn()
        if not [name for name in run.pods if name.startswith("gpt-trn-1")] and run.status.state != "Stopping":
            return
        kubelet.look()
        run.cluster.tick(1)
    raise AssertionError(f"{run.status.state}: {run.pods}")


async def to_the_deadline(run: Scenario) -> None:
    """No operator runs until the kubelet has ended all pods."""
    kubelet = Kubelet(run, random.Random(1))
    while not kubelet.ended():
        run.cluster.tick(1)
        kubelet.look()


async def test_a_deadline_by_the_budget_is_a_budget_stop_and_no_failure() -> None:
    run = Scenario(budget={"limitUsd": "3.00"}, retry={"limit": 0, "infrastructureLimit": 0})
    await to_training(run)
    await to_the_deadline(run)
    await run.turn()
    await run.drain()
    stage = run.status.stages[2]
    assert (stage.state, stage.failures, stage.infrastructure_failures) == ("Suspended", 0, 0)
    assert stage.message.startswith("BudgetExceeded")
    # What is not spent is the time that nobody needed: 10 s to be taken, 15 s of a slow kubelet.
    assert 2_950_000 < recorded_micro_usd(run.cluster) <= 3_000_000
    await run.turn(5)
    assert run.pods == []
    run.job["spec"]["budget"]["limitUsd"] = "6.00"
    await run.turn(3)
    assert "gpt-trn-2-head" in run.pods


async def test_a_limit_that_was_raised_meanwhile_goes_on_at_once() -> None:
    run = Scenario(budget={"limitUsd": "3.00", "onBreach": "Fail"})
    await to_training(run)
    await to_the_deadline(run)
    run.job["spec"]["budget"]["limitUsd"] = "6.00"
    await run.drain()
    await run.turn(3)
    assert run.status.history[-1].reason == "BudgetExtended"
    assert "gpt-trn-2-head" in run.pods


async def test_a_raised_limit_rotates_before_the_old_deadline() -> None:
    run = Scenario(budget={"limitUsd": "3.00"}, retry={"limit": 0})
    await to_training(run)
    old = lifetime(run, "gpt-trn-1-head")
    run.job["spec"]["budget"]["limitUsd"] = "9.00"
    run.cluster.tick(old - 301)
    await run.turn()
    assert run.status.state == "Running"
    run.cluster.tick(1)
    await run.turn()
    assert run.status.state == "Stopping"
    await run.drain()
    await run.turn(2)
    assert run.status.history[-1].reason == "BudgetExtended"
    assert lifetime(run, "gpt-trn-2-head") > old


async def test_a_limit_that_was_raised_by_little_is_not_rotated_for() -> None:
    run = Scenario(budget={"limitUsd": "3.00"})
    await to_training(run)
    run.job["spec"]["budget"]["limitUsd"] = "3.50"
    run.cluster.tick(lifetime(run, "gpt-trn-1-head") - 100)
    await run.turn()
    assert run.status.state == "Running"


async def test_a_lowered_limit_shortens_the_pods_that_live() -> None:
    run = Scenario(budget={"limitUsd": "30.00"})
    await to_training(run)
    before = {name: lifetime(run, name) for name in run.pods}
    run.cluster.tick(60)
    run.job["spec"]["budget"]["limitUsd"] = "3.00"
    await run.turn()
    after = {name: lifetime(run, name) for name in run.pods}
    assert all(after[name] < before[name] for name in run.pods)
    assert after["gpt-trn-1-w0-1"] == after["gpt-trn-1-head"] + 10
    await run.turn(3)
    assert {name: lifetime(run, name) for name in run.pods} == after
    await to_the_deadline(run)
    assert sum(bill(price(WORKER_HOUR, 1, 60), after["gpt-trn-1-w0-1"]) for _ in range(2)) < 3_000_000
    await run.drain()
    assert 2_900_000 < recorded_micro_usd(run.cluster) <= 3_000_000


async def test_a_budget_that_comes_to_a_running_job_bounds_its_pods() -> None:
    run = Scenario()
    await to_training(run)
    assert lifetime(run, "gpt-trn-1-head") == LONGEST
    add_budget(run, "5.00")
    await run.turn(3)
    entry = budget_of(run).reservations[0]
    longest = sum(bill(price(WORKER_HOUR, 1, 60), lifetime(run, name) + 75) for name in run.pods if "-w" in name)
    assert run.status.ledger.total_micro_usd + longest <= entry.ceiling <= 5_000_000


async def test_a_successor_ends_with_the_others() -> None:
    run = Scenario(budget={"limitUsd": "30.00"})
    await to_training(run)
    first = lifetime(run, "gpt-trn-1-w0-1")
    run.cluster.tick(600)
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    await run.turn(2)
    # It starts 600 s later and ends 10 s earlier: the first one was taken at once, of it this cannot be known.
    assert lifetime(run, "gpt-trn-1-w0-2") == pytest.approx(first - 600, abs=11)


async def test_a_stage_takes_a_tenth_where_there_is_plenty_and_its_need_where_there_is_not() -> None:
    plenty, little = Scenario(), Scenario()
    add_budget(plenty, "100")
    add_budget(little, "2.00")
    await to_training(plenty)
    await to_training(little)
    spent = plenty.status.ledger.total_micro_usd
    assert budget_of(plenty).reservations[0].ceiling == pytest.approx(spent + (100_000_000 - spent) // 10, abs=2)
    # Without an estimate: 600 s, and 110 s for a look and a stop.
    assert budget_of(little).reservations[0].ceiling == pytest.approx(spent + 2 * WORKER_HOUR * 710 // 3600, abs=2)


async def test_pods_whose_deadlines_others_lower_are_not_made_and_paid_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A policy gives every pod of the namespace a minute. No budget says when that is enough."""
    run = Scenario(retry={"infrastructureLimit": 3})
    await run.run_stage()
    await run.run_stage()
    create = run.cluster.create

    async def shortened(resource: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        spec = {"spec": body["spec"] | {"activeDeadlineSeconds": 60}} if resource == "api/v1/pods" else {}
        return await create(resource, namespace, body | spec)

    monkeypatch.setattr(run.cluster, "create", shortened)
    for _ in range(400):
        await run.drain_step()
        run.cluster.tick(4)
        for pod in run.cluster.of("api/v1/pods"):
            if pod["status"]["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
                run.cluster.run_pod(pod["metadata"]["name"])
        if run.status.state == "Failed":
            break
    stage = run.status.stages[2]
    assert (stage.state, stage.attempt, stage.infrastructure_failures) == ("Failed", 5, 4)
    assert "`activeDeadlineSeconds`" in stage.message

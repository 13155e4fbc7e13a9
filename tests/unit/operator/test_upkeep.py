"""One round of the upkeep: a list that fails holds up nothing else, and a job that went unseen is told of no longer."""

import pytest
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Found
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.recent import PLANS
from llmtrain_operator.reconcile import JOBS
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.upkeep import Upkeep

from tests.unit.operator.booked import ledgers
from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.scenario import Scenario

SPACE, KEY = "team-a", ("team-a", "gpt")


class Upkept:
    """A job that has spent and reserved, and the upkeep of an operator that has just been started."""

    def __init__(self, run: Scenario) -> None:
        self.run, self.bugs = run, list[str]()
        self.cluster, self.snapshots = run.cluster, Snapshots(run.cluster.clock)
        guard = Guard(Loop.UPKEEP, self.bugs.append)
        self.upkeep = Upkeep(self.cluster, self.cluster.clock, [], self.snapshots, ledgers(self.cluster), guard=guard)

    async def look(self) -> None:
        self.cluster.tick(15)
        await self.upkeep.look()
        assert self.bugs == []

    @property
    def told(self) -> int:
        """Microdollars of the namespace; -1 where nothing is told of it."""
        found = self.snapshots.namespaces().get(SPACE)
        return sum(total.cost_micro_usd for total in found.totals.values()) if found else -1


@pytest.fixture
async def upkept() -> Upkept:
    run = Scenario()
    run.cluster.add(BUDGETS, {"metadata": {"name": "b", "namespace": SPACE}, "spec": {"limitUsd": "10"}})
    await run.run_training(100)
    return Upkept(run)


def fail(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, *resources: str) -> None:
    find = cluster.find

    async def failing(resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        if resource in resources:
            raise ApiError(403, "Forbidden", f"cannot list {resource}")
        return await find(resource, namespace, selector, not_before)

    monkeypatch.setattr(cluster, "find", failing)


@pytest.mark.parametrize("lists", [[BUDGETS], [PLANS], [PLANS, BUDGETS]], ids=["budgets", "plans", "both"])
async def test_a_list_that_fails_holds_up_nothing_else(
    lists: list[str], upkept: Upkept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told of it before stays."""
    await upkept.look()
    plans, budgets = set(upkept.snapshots.plans), [budget.name for budget in upkept.snapshots.budgets]
    assert (plans, budgets) == ({"cpu", "gpu"}, ["b"])
    upkept.snapshots.put(KEY, upkept.run.status, upkept.run.job["metadata"]["uid"])
    fail(upkept.cluster, monkeypatch, *lists)
    del upkept.cluster.objects[(PLANS, "", "cpu")]
    upkept.snapshots.books.clear()
    await upkept.look()
    assert upkept.told == upkept.run.status.ledger.total_micro_usd > 0
    assert set(upkept.snapshots.plans) == ({"cpu", "gpu"} if PLANS in lists else {"gpu"})
    assert [budget.name for budget in upkept.snapshots.budgets] == ["b"]


async def test_nothing_is_told_of_a_namespace_before_its_jobs_were_listed(
    upkept: Upkept, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(upkept.cluster, monkeypatch, JOBS)
    await upkept.look()
    assert upkept.told == -1


async def test_a_job_that_went_before_any_loop_had_looked_at_it_keeps_nothing_untold(upkept: Upkept) -> None:
    """It went between the upkeep's list and the first one of the watch; another operator had let it go, and booked it."""
    await upkept.look()
    assert upkept.told == -1, "its pods may have cost more than is stored"
    await upkept.look()
    assert upkept.snapshots.unseen() == {KEY: upkept.run.job["metadata"]["uid"]}, "it is there"
    stored = upkept.run.status.ledger.total_micro_usd
    del upkept.cluster.objects[(JOBS, *KEY)]
    await upkept.look()
    assert upkept.snapshots.unseen() == {}
    assert upkept.told == stored


async def test_a_job_of_the_same_name_that_came_since_is_not_taken_for_it(upkept: Upkept) -> None:
    await upkept.look()
    upkept.snapshots.put(KEY, upkept.run.status, "another")
    upkept.snapshots.drop_unseen(KEY, upkept.run.job["metadata"]["uid"])
    assert upkept.snapshots.alive() == {"another"}

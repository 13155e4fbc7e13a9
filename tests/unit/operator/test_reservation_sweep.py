"""A reservation that its job has left behind is released, with all that was spent, and no other is."""

from collections import Counter
from typing import Any

import pytest
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.memory import Memory
from llmtrain_operator.names import FINALIZER_JOB
from llmtrain_operator.orphans import PODS, Sweeper
from llmtrain_operator.reconcile import JOBS
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.takeover import CONFIG_MAPS
from llmtrain_operator.upkeep import Upkeep

from llmtrain.api.trainingbudget import TrainingBudgetStatus
from tests.unit.operator.booked import booked_micro_usd, ledgers
from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.scenario import Scenario, recorded_micro_usd

SPACE, JOB = "team-a", (JOBS, "team-a", "gpt")


class Refusing(FakeCluster):
    """Refuses reads and writes of some resources, and counts what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.down: dict[str, int] = {}
        """Resource and the code that it answers with."""
        self.asked: Counter[str] = Counter()

    def _answer(self, resource: str) -> None:
        self.asked[resource] += 1
        if resource in self.down:
            raise ApiError(self.down[resource], "", "not now")

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        self._answer(resource)
        return await super().get(resource, namespace, name)

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> Any:
        self._answer(resource)
        return await super().find(resource, namespace, selector)

    async def list_metadata(self, resource: str, namespace: str, selector: str) -> list[Object]:
        self._answer(resource)
        return await super().list_metadata(resource, namespace, selector)

    async def replace(self, resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        self._answer(resource)
        return await super().replace(resource, namespace, name, body, subresource)


class Operated:
    """A job with a budget, and the upkeep beside it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.unit.operator.scenario.FakeCluster", Refusing)
        self.run = Scenario()
        assert isinstance(self.run.cluster, Refusing)
        self.cluster = self.run.cluster
        self.cluster.add(BUDGETS, {"metadata": {"name": "b", "namespace": SPACE}, "spec": {"limitUsd": "10"}})
        self.snapshots, self.bugs = Snapshots(self.cluster.clock), list[str]()
        guard = Guard(Loop.UPKEEP, self.bugs.append)
        self.upkeep = Upkeep(self.cluster, self.cluster.clock, [], self.snapshots, ledgers(self.cluster), guard=guard)

    @property
    def budget(self) -> TrainingBudgetStatus:
        return TrainingBudgetStatus.model_validate(self.cluster.objects[(BUDGETS, SPACE, "b")].get("status") or {})

    async def turn(self) -> None:
        """One of the job, told to the figures as its loop does."""
        outlook = await self.run.turn()
        if outlook.status is not None:
            self.snapshots.put((SPACE, "gpt"), outlook.status, outlook.uid)
        if outlook.gone:
            self.snapshots.drop((SPACE, "gpt"))

    async def round(self, seconds: int) -> None:
        """Later, one round of the upkeep."""
        self.cluster.tick(seconds)
        await self.upkeep.look()
        assert self.bugs == []

    async def run_a_while(self) -> None:
        """The training has spent and reserved, and the upkeep has been at work for long."""
        await self.run.run_training(100)
        await self.turn()
        await self.upkeep.look()
        assert self.budget.reservations[0].reserved_micro_usd > 0

    async def let_go(self) -> None:
        """Delete the job while its budgets answer 403."""
        self.cluster.down = {BUDGETS: 403}
        await self.cluster.delete(JOBS, SPACE, "gpt", "", None)
        for _ in range(60):
            if JOB not in self.cluster.objects:
                break
            await self.run.drain_step()
        await self.turn()
        self.cluster.down = {}
        assert JOB not in self.cluster.objects
        assert self.run.pods == []


@pytest.fixture
async def operated(monkeypatch: pytest.MonkeyPatch) -> Operated:
    operated = Operated(monkeypatch)
    await operated.run_a_while()
    return operated


async def test_a_job_let_go_while_budgets_could_not_be_read_gives_its_reservation_back(operated: Operated) -> None:
    noted = operated.budget.spent
    await operated.let_go()
    await operated.round(15)
    await operated.round(45)
    assert operated.budget.reservations, "two lists within a minute are not enough"
    await operated.round(15)
    bill = recorded_micro_usd(operated.cluster)
    assert operated.budget.reservations == []
    assert operated.budget.booked_micro_usd == operated.budget.held == bill > noted
    await operated.round(15)
    told = operated.budget
    assert (told.reserved_usd, told.available_usd) == ("0.00", f"{10 - bill / 1e6:.2f}")


async def test_what_no_ledger_has_stays_spent_as_the_job_had_noted_it(operated: Operated) -> None:
    noted = operated.budget.spent
    await operated.let_go()
    for key in [key for key in operated.cluster.objects if key[:2] == (CONFIG_MAPS, "default")]:
        del operated.cluster.objects[key]
    await operated.round(15)
    await operated.round(60)
    assert operated.budget.reservations == []
    assert operated.budget.booked_micro_usd == noted > 0


@pytest.mark.parametrize("resource", [JOBS, PODS, CONFIG_MAPS])
@pytest.mark.parametrize("code", [0, 403, 500])
async def test_a_read_that_fails_releases_nothing(operated: Operated, resource: str, code: int) -> None:
    await operated.let_go()
    await operated.round(15)
    before = operated.budget.reservations
    operated.cluster.down = {resource: code}
    refused = set[int]()
    for _ in range(8):
        operated.cluster.tick(60)
        try:
            await operated.upkeep.look()
        except ApiError as error:
            refused.add(error.code)
    assert refused <= ({code} if resource == CONFIG_MAPS else set())
    assert operated.budget.reservations == before
    operated.cluster.down = {}
    await operated.round(60)
    assert operated.budget.reservations == []


async def test_a_job_that_is_there_again_keeps_its_reservation(operated: Operated) -> None:
    """A list may have come from a backup, or from an apiserver that lags behind."""
    job = operated.cluster.objects.pop(JOB)
    operated.snapshots.jobs.clear()
    await operated.round(15)
    operated.cluster.objects[JOB] = job
    before = operated.budget.reservations
    for _ in range(8):
        await operated.round(60)
    assert operated.budget.reservations == before


async def test_a_job_that_was_seen_meanwhile_is_looked_for_twice_again(operated: Operated) -> None:
    known = dict(operated.snapshots.jobs)
    job = operated.cluster.objects.pop(JOB)
    operated.snapshots.jobs.clear()
    await operated.round(15)
    operated.snapshots.jobs.update(known)
    operated.cluster.objects[JOB] = job
    await operated.round(60)
    await operated.let_go()
    await operated.round(60)
    assert operated.budget.reservations
    await operated.round(60)
    assert operated.budget.reservations == []


async def test_a_job_made_again_under_the_name_keeps_nothing_of_the_other(operated: Operated) -> None:
    spec = operated.run.job["spec"]
    await operated.let_go()
    body = {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "LLMTrainingJob", "spec": spec}
    operated.cluster.add(JOBS, body | {"metadata": {"name": "gpt", "namespace": SPACE}})
    operated.run.memory = Memory()
    bill = recorded_micro_usd(operated.cluster)
    for _ in range(4):
        await operated.turn()
    await operated.round(15)
    await operated.turn()
    await operated.round(60)
    (left,) = operated.budget.reservations
    assert left.uid == operated.run.job["metadata"]["uid"]
    assert operated.budget.booked_micro_usd == bill


async def test_pods_of_a_job_whose_finalizer_was_stripped_are_waited_for_and_counted(operated: Operated) -> None:
    noted = operated.budget.spent
    operated.cluster.objects[JOB]["metadata"]["finalizers"].remove(FINALIZER_JOB)
    await operated.cluster.delete(JOBS, SPACE, "gpt", "", None)
    operated.run.memory = Memory()
    await operated.turn()
    await operated.round(15)
    before = operated.budget.reservations
    for _ in range(4):
        await operated.round(60)
    assert operated.budget.reservations == before, "its pods still spend"
    sweeper = Sweeper(operated.cluster, operated.upkeep.ledgers, [], operated.cluster.clock, lambda *_: None)
    await sweeper.sweep()
    operated.cluster.tick(1)
    for name in operated.run.pods:
        operated.cluster.end_pod(name, 75)
    await sweeper.sweep()
    assert operated.run.pods == []
    await operated.round(60)
    assert operated.budget.reservations == []
    assert operated.budget.booked_micro_usd == max(noted, booked_micro_usd(operated.cluster)) > noted


async def test_a_write_of_somebody_else_is_kept(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    await operated.let_go()
    await operated.round(15)
    replace, beaten = operated.cluster.replace, list[str]()

    async def second(resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        if resource == BUDGETS and not beaten:
            beaten.append(name)
            there = operated.cluster.objects[(BUDGETS, SPACE, "b")]
            there["metadata"]["resourceVersion"] = str(next(operated.cluster._numbers))
            there["status"]["reservations"].append({"uid": "other", "job": "other", "reservedMicroUsd": 7})
        return await replace(resource, namespace, name, body, subresource)

    monkeypatch.setattr(operated.cluster, "replace", second)
    await operated.round(60)
    await operated.round(60)
    assert beaten
    assert [item.uid for item in operated.budget.reservations] == ["other"]
    assert operated.budget.booked_micro_usd == recorded_micro_usd(operated.cluster)


async def test_a_write_that_is_always_beaten_is_tried_again_a_minute_later(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    await operated.let_go()
    await operated.round(15)
    operated.cluster.asked.clear()
    before = operated.budget.reservations
    replace = operated.cluster.replace

    async def beaten(resource: str, *rest: Any, **more: Any) -> Object:
        if resource == BUDGETS:
            raise ApiError(409, "Conflict", "newer")
        return await replace(resource, *rest, **more)

    monkeypatch.setattr(operated.cluster, "replace", beaten)
    await operated.round(60)
    for _ in range(3):
        await operated.round(15)
    assert operated.cluster.asked[PODS] == 1
    assert operated.budget.reservations == before
    monkeypatch.undo()
    await operated.round(15)
    assert operated.budget.reservations == []


async def test_nothing_is_asked_for_where_all_reservations_are_of_jobs_that_are_known(operated: Operated) -> None:
    operated.cluster.asked.clear()
    for _ in range(8):
        await operated.round(15)
    assert operated.budget.reservations
    assert {JOBS, PODS}.isdisjoint(operated.cluster.asked)
    operated.cluster.objects[(BUDGETS, SPACE, "b")]["status"]["reservations"] = []
    operated.snapshots.jobs.clear()
    for _ in range(8):
        await operated.round(15)
    assert {JOBS, PODS}.isdisjoint(operated.cluster.asked)

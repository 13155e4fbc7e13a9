"""How often the operator looks, and what it asks for: nothing is polled hot, nothing shared is asked for by everybody."""

import asyncio
from datetime import datetime, timedelta

import pytest
from llmtrain_operator.client import ApiError, Found, Object
from llmtrain_operator.recent import PLANS, Recent
from llmtrain_operator.reconcile import JOBS, PROVISIONAL_SECONDS

from tests.unit.operator.fake_cluster import START, FakeCluster
from tests.unit.operator.scenario import GPU_PLAN, Scenario
from tests.unit.operator.test_waiting import told, training_of, unschedulable


class Counting(FakeCluster):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        self.asked += 1
        return await super().get(resource, namespace, name, not_before)


async def test_a_thousand_turns_within_five_seconds_ask_once() -> None:
    cluster = Counting()
    cluster.add("plans", {"metadata": {"name": "gpu"}})
    recent = Recent(cluster, cluster.clock)
    answers = [await recent.get("plans", "", "gpu") for _ in range(1000)]
    assert (cluster.asked, len({str(a) for a in answers})) == (1, 1)
    cluster.tick(6)
    await recent.get("plans", "", "gpu")
    assert cluster.asked == 2


async def test_a_plan_is_parsed_once_for_each_of_its_versions() -> None:
    cluster = FakeCluster()
    raw = cluster.add(PLANS, {"metadata": {"name": "gpu"}, "spec": GPU_PLAN})
    recent = Recent(cluster, cluster.clock)
    before = await recent.plan("gpu")
    cluster.tick(6)
    assert before is not None
    assert await recent.plan("gpu") is before
    dearer = {**GPU_PLAN, "rented": {"acceleratorHourUsd": "4.50"}}
    await cluster.replace(PLANS, "", "gpu", {**raw, "spec": dearer})
    cluster.tick(6)
    after = await recent.plan("gpu")
    assert after is not None
    assert (str(before.accelerator_hour_usd), str(after.accelerator_hour_usd)) == ("3.99", "4.50")
    del cluster.objects[(PLANS, "", "gpu")]
    cluster.tick(6)
    assert await recent.plan("gpu") is None


async def test_turns_that_begin_together_ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Counting()
    cluster.add("plans", {"metadata": {"name": "gpu"}})
    recent = Recent(cluster, cluster.clock)
    let_go, get = asyncio.Event(), cluster.get

    async def late(resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        answer = await get(resource, namespace, name, not_before)
        await let_go.wait()
        return answer

    monkeypatch.setattr(cluster, "get", late)
    asking = [asyncio.create_task(recent.get("plans", "", "gpu")) for _ in range(100)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    let_go.set()
    answers = await asyncio.gather(*asking[1:])
    assert cluster.asked == 1
    assert [answer and answer["metadata"]["name"] for answer in answers] == ["gpu"] * 99


async def test_an_error_is_told_to_all_who_asked_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Counting()
    cluster.add("plans", {"metadata": {"name": "gpu"}})
    recent = Recent(cluster, cluster.clock)

    async def away(*_: object) -> Object | None:
        raise ApiError(0, "NoAnswer", "away")

    with monkeypatch.context() as patched:
        patched.setattr(cluster, "get", away)
        errors = await asyncio.gather(*(recent.get("plans", "", "gpu") for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in errors] == [ApiError] * 3
    assert await recent.get("plans", "", "gpu")


class SlowFirst(FakeCluster):
    """The first list of budgets is read at once and answered late, as a busy apiserver's may be."""

    def __init__(self) -> None:
        super().__init__()
        self.lists, self.let_go = 0, asyncio.Event()

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        self.lists += 1
        answer = Found([{"metadata": {"name": "all", "resourceVersion": str(self.lists)}}], str(self.lists))
        if self.lists == 1:
            await self.let_go.wait()
        return answer


async def test_a_budget_is_never_seen_as_it_was_before_it_was_seen() -> None:
    """Another job's slow read must not hide a reservation from the job that has started on it."""
    cluster = SlowFirst()
    recent = Recent(cluster, cluster.clock)
    slow = asyncio.create_task(recent.budgets("team-a"))
    await asyncio.sleep(0)
    recent.forget_budgets("team-a")
    after = asyncio.create_task(recent.budgets("team-a"))
    await asyncio.sleep(0)
    cluster.let_go.set()
    await slow
    seen = [await after, await recent.budgets("team-a")]
    assert [view[0]["metadata"]["resourceVersion"] for view in seen] == ["2", "2"]


class Told(FakeCluster):
    """Notes how budgets are listed; each list is one version newer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = list[str]()

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        return self._noted("live")

    async def find_since(self, resource: str, namespace: str, selector: str, version: str) -> Found:
        return self._noted(f"since {version}")

    def _noted(self, how: str) -> Found:
        self.asked.append(how)
        return Found([], str(100 + len(self.asked)))


class Busy(Told):
    """Its second live list is answered late."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        found = await super().find(resource, namespace, selector, not_before)
        if len(self.asked) == 2:
            await self.let_go.wait()
        return found


async def test_who_holds_a_reservation_does_not_wait_for_a_live_list_unless_somebody_has_reserved() -> None:
    cluster = Told()
    recent = Recent(cluster, cluster.clock)
    for _ in range(3):
        await recent.budgets_since("team-a")
        await recent.budgets_since("team-a")
        cluster.tick(2)
    assert cluster.asked == ["live", "since 101", "since 102"]
    await recent.budgets("team-a")
    assert cluster.asked[3:] == ["live"], "who may begin on it sees what is there now"
    cluster.tick(2)
    await recent.budgets_since("team-a")
    assert cluster.asked[4:] == ["since 104"]
    recent.forget_budgets("team-a")
    await recent.budgets_since("team-a")
    assert cluster.asked[5:] == ["live"]


async def test_who_waited_while_somebody_reserved_sees_the_reservation() -> None:
    """Not out of the cache, as new as was known when it began to wait."""
    cluster = Busy()
    recent = Recent(cluster, cluster.clock)
    await recent.budgets_since("team-a")
    cluster.tick(2)
    slow = asyncio.create_task(recent.budgets("team-a"))
    await asyncio.sleep(0)
    waits = asyncio.create_task(recent.budgets_since("team-a"))
    await asyncio.sleep(0)
    recent.forget_budgets("team-a")
    cluster.let_go.set()
    await asyncio.gather(slow, waits)
    assert cluster.asked == ["live", "live", "live"]


async def test_what_nobody_asks_for_any_more_is_forgotten() -> None:
    cluster, now = Counting(), START

    def clock() -> datetime:
        return now

    recent = Recent(cluster, clock)
    for number in range(100):
        now = START + timedelta(seconds=60 * number)
        await recent.get("plans", "", f"gpu-{number}")
    assert len(recent._answers) == 1


async def test_a_finished_job_is_looked_at_every_two_minutes_until_its_time_is_up() -> None:
    run = Scenario(ttlSecondsAfterFinished=100)
    for _ in range(4):
        await run.run_stage()
    await run.turn(2)
    assert (await run.turn()).seconds <= 100
    run.job["spec"]["ttlSecondsAfterFinished"] = 0
    await run.turn()
    assert (await run.turn()).seconds == 120


async def test_a_backoff_is_slept_through() -> None:
    run = Scenario(retry={"limit": 9})
    await run.turn(3)
    run.cluster.run_pod("gpt-pre-1-head")
    run.cluster.end_pod("gpt-pre-1-head", 70, "", "Error")
    await run.drain()
    assert run.status.state == "Pending"
    await run.turn()
    outlook = await run.turn()
    assert 5 < outlook.seconds <= 10


class Statuses(FakeCluster):
    """Counts the writes of jobs' statuses."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[str] = []

    async def replace(self, resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        if (resource, subresource) == (JOBS, "status"):
            self.statuses.append(body["status"]["state"])
        return await super().replace(resource, namespace, name, body, subresource)


def count_statuses(run: Scenario) -> Statuses:
    """From now on."""
    counting = Statuses()
    vars(counting).update({key: value for key, value in vars(run.cluster).items() if key != "statuses"})
    run.cluster = counting
    return counting


async def test_what_is_held_idle_is_told_once_a_minute_not_at_every_look() -> None:
    """Its dollars grow with every second; a cluster may lack a pod for hours."""
    run = await training_of(8)
    for number in range(3):
        run.cluster.run_pod(f"gpt-trn-1-w{number}-1")
    for number in range(3, 8):
        unschedulable(run, f"gpt-trn-1-w{number}-1")
    await run.turn(3)
    run.cluster.tick(10)
    await run.turn()
    counting, before = count_statuses(run), told(run).message
    pauses = list[float]()
    for _ in range(120):
        run.cluster.tick(1)
        pauses.append((await run.turn()).seconds)
    assert len(counting.statuses) <= 120 / PROVISIONAL_SECONDS
    assert min(pauses) > 0, "the loop ran hot"
    assert told(run).message != before


async def test_a_start_is_written_when_it_begins_and_once_its_pods_are_a_few_seconds_old() -> None:
    run = Scenario()
    await run.run_stage()
    counting = count_statuses(run)
    await run.until_pods()
    await run.turn(2)
    for name in run.pods:
        run.cluster.run_pod(name)
        outlook = await run.turn()
    assert counting.statuses == ["Running"]
    run.cluster.tick(int(outlook.seconds))
    await run.turn(2)
    assert counting.statuses == ["Running", "Running"]
    assert {mark.alive_seconds > 0 for mark in run.status.ledger.high_water} == {True}


async def test_a_suspension_is_written_when_it_begins_when_bills_are_made_and_when_it_is_over() -> None:
    run = Scenario()
    await run.run_stage()
    while not run.pods:
        await run.turn()
        run.cluster.tick(1)
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn(2)
    counting = count_statuses(run)
    run.job["spec"]["suspend"] = True
    for _ in range(8):
        await run.drain_step()
    assert counting.statuses == ["Stopping", "Stopping", "Suspended"]
    assert (await run.turn()).seconds == 15

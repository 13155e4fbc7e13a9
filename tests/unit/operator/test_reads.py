"""Pods are read as they are now, unless a loop that missed nothing was told of a change: then at least as new as that.

A job is not read at all where whoever told of its change had it, or it has just been read or written; nor are the pods of a
job at rest that only its own change has woken.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Found, Object
from llmtrain_operator.health import Health
from llmtrain_operator.jobs import Jobs, Loop
from llmtrain_operator.memory import Rest
from llmtrain_operator.metrics import OperatorMetrics
from llmtrain_operator.observation import Tale
from llmtrain_operator.progress import ProgressReader
from llmtrain_operator.reconcile import JOBS, Reconciler
from llmtrain_operator.snapshots import Snapshots
from prometheus_client import CollectorRegistry

from tests.unit.operator.fake_cluster import FakeCluster, clone
from tests.unit.operator.scenario import Scenario

LIVE, NOTHING = "live", "nothing"


class Lists(FakeCluster):
    """Notes how pods are listed. What it makes has a resourceVersion below 1000, each list one above."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = list[str]()
        self.read = list[str]()
        """How the job was read: live, or at least as new as a version."""
        self.version = 1000
        self.made = 0

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        return await self._noted(LIVE, resource, namespace, selector)

    async def find_since(self, resource: str, namespace: str, selector: str, version: str) -> Found:
        return await self._noted(version, resource, namespace, selector)

    async def _noted(self, how: str, resource: str, namespace: str, selector: str) -> Found:
        found = await super().find(resource, namespace, selector)
        self.asked += [how] if resource == "api/v1/pods" else []
        return Found(found.items, str(self.version))

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        self.read += [not_before or LIVE] if resource == JOBS else []
        return await super().get(resource, namespace, name, not_before)

    async def create(self, resource: str, namespace: str, body: Object) -> Object:
        made = await super().create(resource, namespace, body)
        if self.made and resource == "api/v1/pods":
            made["metadata"]["resourceVersion"] = str(self.made)
        return made


class Told:
    """A job whose turns are begun by hand, as its loop begins them."""

    def __init__(self) -> None:
        self.run, self.cluster = Scenario(), Lists()
        self.cluster.objects, self.cluster._numbers = self.run.cluster.objects, self.run.cluster._numbers
        self.run.cluster = self.cluster
        metrics = OperatorMetrics(CollectorRegistry(), lambda: 0.0, "1")
        reconciler = Reconciler(self.cluster, self.cluster.clock, "jobs:1")
        snapshots = Snapshots(lambda: datetime.now(UTC))
        self.jobs = Jobs(reconciler, snapshots, metrics, ProgressReader(), lambda: 0.0, Health(lambda: 0.0))
        self.loop = self.jobs.loops["team-a", "gpt"] = Loop(asyncio.Event(), memory=self.run.memory)

    def pod_changed(self, version: int) -> None:
        self.jobs.pod_told("team-a", "gpt", "of another pod", str(version), Tale.CHANGED)

    async def listed(self) -> str:
        """How the next turn lists pods."""
        await self.jobs._turn(("team-a", "gpt"), self.loop)
        return self.cluster.asked[-1]

    async def until_created(self) -> None:
        """Turns until there are pods."""
        while not self.run.pods:
            self.jobs._wake(self.loop)
            await self.listed()


@pytest.fixture
async def told() -> Told:
    told = Told()
    told.jobs._wake(told.loop)
    assert await told.listed() == LIVE, "the first look is always live"
    return told


async def test_a_loop_that_is_told_of_a_pod_reads_no_older_pods(told: Told) -> None:
    told.pod_changed(2000)
    told.pod_changed(1500)
    assert await told.listed() == "2000"
    told.cluster.version = 3000
    told.jobs._wake(told.loop)
    assert await told.listed() == "2000"
    told.loop.memory.rest = Rest()
    told.jobs._wake(told.loop)
    assert await told.listed() == "3000", "nor any older than the last list"


async def test_a_loop_that_nobody_woke_reads_what_is(told: Told) -> None:
    assert await told.listed() == LIVE


async def test_after_a_gap_in_the_watch_pods_are_read_as_they_are(told: Told) -> None:
    told.jobs.wake_all()
    told.pod_changed(2000)
    assert await told.listed() == LIVE


async def test_a_gap_during_a_turn_is_not_forgotten_at_its_end(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = told.cluster.replace

    async def gap(*args: Any) -> Object:
        told.jobs.wake_all()
        return await replace(*args)

    with monkeypatch.context() as patched:
        patched.setattr(told.cluster, "replace", gap)
        told.jobs._wake(told.loop)
        await told.listed()
    assert await told.listed() == LIVE


async def test_after_a_turn_that_failed_pods_are_read_as_they_are(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a create that was never answered nobody knows whether there is a pod."""

    async def away(*_: object) -> Object:
        raise ApiError(0, "NoAnswer", "away")

    with monkeypatch.context() as patched:
        patched.setattr(told.cluster, "create", away)
        while told.run.status.state != "Running":
            told.jobs._wake(told.loop)
            await told.listed()
    told.jobs._wake(told.loop)
    assert await told.listed() == LIVE


async def test_pods_that_the_operator_made_are_in_its_next_list(told: Told) -> None:
    told.cluster.made = 5000
    await told.until_created()
    told.jobs._wake(told.loop)
    assert await told.listed() == "5000"


async def test_a_pod_that_was_there_already_is_looked_for_where_it_is(told: Told) -> None:
    """A create that says AlreadyExists does not say since when."""

    def there(resource: str, body: Object) -> ApiError | None:
        if resource != "api/v1/pods":
            return None
        told.cluster.add(resource, {**body, "status": {"phase": "Pending"}})
        return ApiError(409, "AlreadyExists", "exists")

    told.cluster.refuse = there
    await told.until_created()
    told.jobs._wake(told.loop)
    assert await told.listed() == LIVE


@pytest.fixture
async def resting() -> Told:
    """A job whose curation runs and whose last turn had nothing to do."""
    resting = Told()
    await resting.until_created()
    for name in resting.run.pods:
        resting.cluster.run_pod(name)
    resting.pod_changed(2000)
    resting.cluster.version = 2000
    for _ in range(3):
        await resting.listed()
    assert resting.loop.memory.rest.still
    resting.cluster.read.clear()
    resting.cluster.asked[:] = [NOTHING]
    return resting


def change(told: Told, **spec: object) -> Object:
    """Somebody changes the job's spec, of which nobody tells; as it is then."""
    job = told.run.job
    job["spec"] |= spec
    job["metadata"]["generation"] += 1
    job["metadata"]["resourceVersion"] = str(next(told.cluster._numbers))
    return clone(job)


def tell(told: Told, job: Object, with_job: bool = True) -> None:
    told.loop.task = asyncio.create_task(asyncio.sleep(0))  # turns are begun by hand
    told.jobs.ensure("team-a", "gpt", job["metadata"]["resourceVersion"], job if with_job else None)


async def test_a_change_of_a_job_at_rest_is_acted_upon_without_reading_it_or_its_pods(resting: Told) -> None:
    tell(resting, change(resting, suspend=True))
    assert await resting.listed() == NOTHING
    assert resting.cluster.read == []
    assert resting.run.status.state == "Stopping"


async def test_a_change_without_consequences_leaves_the_job_at_rest_for_one_write(resting: Told) -> None:
    tell(resting, change(resting, ttlSecondsAfterFinished=9))
    writes = resting.cluster.writes
    for _ in range(3):
        assert await resting.listed() in (NOTHING, LIVE)
    assert (resting.cluster.writes - writes, resting.cluster.read) == (1, [])
    assert resting.run.status.observed_generation == 2
    assert resting.loop.memory.rest.still


async def test_pods_that_changed_as_well_are_listed(resting: Told) -> None:
    resting.pod_changed(3000)
    tell(resting, change(resting, suspend=True))
    assert await resting.listed() == "3000"


async def test_after_a_gap_the_pods_of_a_job_at_rest_are_listed(resting: Told) -> None:
    resting.jobs.wake_all()
    tell(resting, change(resting, suspend=True))
    assert await resting.listed() == LIVE


async def test_a_change_that_is_told_of_without_the_job_is_read(resting: Told) -> None:
    job = change(resting, suspend=True)
    tell(resting, job, with_job=False)
    await resting.listed()
    assert resting.cluster.read == [job["metadata"]["resourceVersion"]]
    assert resting.run.status.state == "Stopping"


async def test_of_changes_told_in_the_wrong_order_the_newest_counts(resting: Told) -> None:
    first, second = change(resting, suspend=True), change(resting, suspend=False)
    for job in (second, first, second):
        tell(resting, job)
    await resting.listed()
    assert resting.run.status.state == "Running"
    assert resting.run.status.observed_generation == 3


async def test_a_change_of_which_nobody_told_is_seen_after_five_seconds(resting: Told) -> None:
    change(resting, suspend=True)
    resting.cluster.tick(6)
    resting.pod_changed(3000)
    await resting.listed()
    assert len(resting.cluster.read) == 1
    assert resting.run.status.state == "Stopping"


async def test_a_change_of_which_nobody_told_yet_makes_the_next_write_fail(resting: Told) -> None:
    tell(resting, change(resting, ttlSecondsAfterFinished=9))
    change(resting, suspend=True)
    with pytest.raises(ApiError, match="409"):
        await resting.listed()
    await resting.listed()
    assert resting.cluster.read == [LIVE]
    assert resting.run.status.state == "Stopping"


async def test_what_is_told_before_the_first_read_is_not_taken_for_the_job() -> None:
    """A list may have been served stale; only what follows it is known to be newer."""
    told = Told()
    old = clone(told.run.job)
    change(told, suspend=True)
    tell(told, old)
    await told.listed()
    assert told.cluster.read == [LIVE]


async def test_a_job_that_is_gone_is_looked_for(resting: Told) -> None:
    gone = change(resting)
    del resting.cluster.objects[JOBS, "team-a", "gpt"]
    resting.jobs.job_gone("team-a", "gpt", gone["metadata"]["resourceVersion"])
    outlook = await resting.jobs._turn(("team-a", "gpt"), resting.loop)
    assert outlook.gone

"""Pods are read as they are now, unless a loop that missed nothing was told of a change: then at least as new as that."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Found, Object
from llmtrain_operator.health import Health
from llmtrain_operator.jobs import Jobs, Loop
from llmtrain_operator.metrics import OperatorMetrics
from llmtrain_operator.observation import Tale
from llmtrain_operator.progress import ProgressReader
from llmtrain_operator.reconcile import Reconciler
from llmtrain_operator.snapshots import Snapshots
from prometheus_client import CollectorRegistry

from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.scenario import Scenario

LIVE = "live"


class Lists(FakeCluster):
    """Notes how pods are listed. What it makes has a resourceVersion below 1000, each list one above."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = list[str]()
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
            self.jobs.wake("team-a", "gpt")
            await self.listed()


@pytest.fixture
async def told() -> Told:
    told = Told()
    told.jobs.wake("team-a", "gpt")
    assert await told.listed() == LIVE, "the first look is always live"
    return told


async def test_a_loop_that_is_told_of_a_pod_reads_no_older_pods(told: Told) -> None:
    told.pod_changed(2000)
    told.pod_changed(1500)
    assert await told.listed() == "2000"
    told.cluster.version = 3000
    told.jobs.wake("team-a", "gpt")
    assert await told.listed() == "2000"
    told.jobs.wake("team-a", "gpt")
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
        told.jobs.wake("team-a", "gpt")
        await told.listed()
    assert await told.listed() == LIVE


async def test_after_a_turn_that_failed_pods_are_read_as_they_are(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a create that was never answered nobody knows whether there is a pod."""

    async def away(*_: object) -> Object:
        raise ApiError(0, "NoAnswer", "away")

    with monkeypatch.context() as patched:
        patched.setattr(told.cluster, "create", away)
        with pytest.raises(ApiError):
            await told.until_created()
    told.jobs.wake("team-a", "gpt")
    assert await told.listed() == LIVE


async def test_pods_that_the_operator_made_are_in_its_next_list(told: Told) -> None:
    told.cluster.made = 5000
    await told.until_created()
    told.jobs.wake("team-a", "gpt")
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
    told.jobs.wake("team-a", "gpt")
    assert await told.listed() == LIVE

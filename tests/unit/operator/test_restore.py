"""etcd is restored from a backup: resourceVersions go back, objects are as they were. Jobs go on within a minute."""

import pickle
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from llmtrain_operator.client import AHEAD, STALE, ApiError, Found, Object, is_older
from llmtrain_operator.health import Health
from llmtrain_operator.jobs import Jobs
from llmtrain_operator.memory import Memory
from llmtrain_operator.metrics import OperatorMetrics
from llmtrain_operator.progress import ProgressReader
from llmtrain_operator.recent import Recent
from llmtrain_operator.reconcile import Reconciler
from llmtrain_operator.snapshots import Snapshots
from prometheus_client import CollectorRegistry

from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.scenario import Scenario


class Restorable(FakeCluster):
    """Lists have the newest version; what is asked for by a version that is not there yet is refused, as apiservers do."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 1000
        self.lag = 0
        """Lists are so much older than what there is."""

    def _check(self, version: str) -> None:
        if is_older(str(self.version), version):
            raise ApiError(504, "Timeout", f"Timeout: {AHEAD}: {version}, current: {self.version}")

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        self._check(not_before)
        return await super().get(resource, namespace, name, not_before)

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        found = await super().find(resource, namespace, selector)
        version = str(self.version - self.lag)
        if is_older(version, not_before):
            raise ApiError(0, STALE, "older than the one before it")
        return Found(found.items, version)

    async def find_since(self, resource: str, namespace: str, selector: str, version: str) -> Found:
        self._check(version)
        return await self.find(resource, namespace, selector, version)


@dataclass
class Turns:
    """Turns of one process: what it keeps between them is kept; errors pause it as its loop does."""

    run: Scenario
    cluster: Restorable = field(default_factory=Restorable)
    failures: int = 0

    def __post_init__(self) -> None:
        vars(self.cluster).update({k: v for k, v in vars(self.run.cluster).items() if k not in ("version", "lag")})
        self.run.cluster = self.cluster
        self.reconciler = Reconciler(self.cluster, self.cluster.clock, "jobs:1")

    async def turn(self, woken: bool) -> bool:
        self.run.memory.woken = woken
        try:
            await self.reconciler.turn("team-a", "gpt", self.run.memory)
        except ApiError:
            self.failures += 1
            self.cluster.tick(min(2**self.failures, 60))
            return False
        self.failures = 0
        return True


async def training() -> Turns:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    turns = Turns(run)
    while len(run.pods) < 3:
        await turns.turn(woken=True)
        run.cluster.tick(1)
    for name in run.pods:
        run.cluster.run_pod(name)
    for _ in range(3):
        assert await turns.turn(woken=True)
        run.cluster.tick(1)
    return turns


@pytest.mark.parametrize("woken", [True, False])
async def test_a_job_goes_on_within_a_minute(woken: bool) -> None:
    turns = await training()
    run, cluster = turns.run, turns.cluster
    backup = pickle.dumps(cluster.objects)
    cluster.version = 5000
    cluster.tick(600)
    assert await turns.turn(woken=False)
    assert run.memory.pods.version == "5000"
    cluster.objects = pickle.loads(backup)
    run.left = {}
    run.memory.pods.told = "5001" if woken else ""
    cluster.version = 1200
    cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    restored = cluster.now
    while "gpt-trn-1-w0-2" not in run.pods:
        await turns.turn(woken)
        cluster.tick(1)
        assert (cluster.now - restored).total_seconds() <= 60
    assert run.memory.pods.version == "1200"


async def test_a_list_that_lags_behind_is_not_believed() -> None:
    """A pod that is missing in it would be billed as vanished."""
    turns = await training()
    cluster = turns.cluster
    cluster.version, cluster.lag = 2000, 0
    assert await turns.turn(woken=False)
    cluster.lag = 10
    for _ in range(2):
        assert not await turns.turn(woken=False)
    cluster.lag = 0
    assert await turns.turn(woken=False)
    assert turns.run.memory.pods.version == "2000"
    assert turns.run.memory.pods.stale == 0


async def test_budgets_are_read_live_where_the_version_is_of_another_history() -> None:
    cluster = Restorable()
    recent = Recent(cluster, cluster.clock)
    cluster.version = 5000
    await recent.budgets_since("team-a")
    cluster.version = 1200
    for _ in range(3):
        cluster.tick(2)
        assert await recent.budgets_since("team-a") == []


async def test_a_watch_that_sees_versions_go_back_makes_every_job_forget() -> None:
    cluster = Restorable()
    jobs = Jobs(
        Reconciler(cluster, cluster.clock, "jobs:1"),
        Snapshots(lambda: datetime.now(UTC)),
        OperatorMetrics(CollectorRegistry(), lambda: 0.0, "1"),
        ProgressReader(),
        lambda: 0.0,
        Health(lambda: 0.0),
    )
    jobs.ensure("a", "gpt", "900")
    memory = jobs.loops["a", "gpt"].memory = Memory()
    memory.job.version = memory.pods.version = "900"
    memory.made["x"], memory.cleared = "uid-1", "gpt-trn-1"
    jobs.forget_versions()
    assert (memory.job.version, memory.pods.version, memory.pods.gap) == ("", "", True)
    assert (memory.made, memory.cleared) == ({}, "")
    await jobs.close()

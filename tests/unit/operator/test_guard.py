"""One bad object, or a bug, costs itself: the other objects, the other loops, the scrape and the process go on."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from llmtrain_operator.border import Rejections
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.main import until_one_ends
from llmtrain_operator.metrics import OperatorMetrics, register_all
from llmtrain_operator.names import FINALIZER_POD
from llmtrain_operator.orphans import Sweeper
from llmtrain_operator.recent import PLANS
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.upkeep import Upkeep
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tests.unit.operator.booked import ledgers
from tests.unit.operator.fake_cluster import FakeCluster, clone, stamp
from tests.unit.operator.scenario import CPU_PLAN, Scenario
from tests.unit.operator.test_operator_health import orphaned
from tests.unit.virtual_time import in_virtual_time

PODS = "api/v1/pods"


async def test_a_loop_that_ends_in_a_bug_begins_anew_and_is_counted_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry, lambda: 0.0, "1")
    begun, pauses = list[int](), list[float]()
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async def loop() -> None:
        begun.append(1)
        if len(begun) < 10:
            raise [KeyError("x"), RecursionError("deep"), OverflowError("big")][len(begun) % 3]

    monkeypatch.setattr("llmtrain_operator.guard.asyncio.sleep", noted)
    await Guard(Loop.SWEEP, metrics.count_crash).keep_running(loop)
    assert len(begun) == 10
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert registry.get_sample_value("llmtrain_operator_loop_crashes_total", {"loop": "sweep"}) == 9
    assert registry.get_sample_value("llmtrain_operator_loop_crashes_total", {"loop": "upkeep"}) == 0


@in_virtual_time
async def test_the_process_ends_with_the_watch_and_not_with_a_bug_beside_it() -> None:
    signal, crashes = asyncio.Event(), list[str]()

    async def bad() -> None:
        raise KeyError("uid")

    async def watch() -> None:
        await signal.wait()

    def count(loop: str) -> None:
        crashes.append(loop)
        if len(crashes) == 3:
            signal.set()

    loops = [Guard(loop, count, longest_pause=0.0).keep_running(bad) for loop in (Loop.SWEEP, Loop.UPKEEP)]
    await asyncio.wait_for(until_one_ends(*loops, Guard(Loop.JOB_WATCH).keep_running(watch)), 5)
    assert {"sweep", "upkeep"} == set(crashes)


@in_virtual_time
async def test_a_loop_that_is_to_end_is_waited_for() -> None:
    """What it leaves behind would be cancelled in the midst of its own end, with all that the process runs."""
    begun, ended = asyncio.Event(), list[str]()

    async def slow() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ended.append("slow")

    task = asyncio.create_task(Guard(Loop.SWEEP).keep_running(slow))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert ended == ["slow"]
    assert task.cancelled()


def strange_pods() -> list[Object]:
    """Pods that a tenant can make: our finalizer, and labels or owners that nobody of ours has."""
    owner = {"apiVersion": "v1", "kind": "LLMTrainingJob", "name": "x", "controller": True}
    parts: list[tuple[str, Object]] = [
        ("x", {"labels": {"llmtrain.dev/job": ""}}),
        ("gpt-trn-1-head", {"labels": {"llmtrain.dev/job": "", "llmtrain.dev/attempt": "many"}}),
        ("gpt-trn-1-w0-1", {"labels": {"llmtrain.dev/job": "a/../b"}, "ownerReferences": [owner]}),
        ("gpt-trn-1-w1-1", {"labels": {"llmtrain.dev/job": "gpt"}, "ownerReferences": [owner | {"uid": "nobody"}]}),
        ("gpt-trn-1-w2-1", {"labels": {"llmtrain.dev/job": "gpt"}, "ownerReferences": [{}, owner | {"uid": 7}]}),
    ]
    base = {"namespace": "team-b", "finalizers": [FINALIZER_POD]}
    return [{"metadata": base | part | {"name": name}, "spec": {}, "status": {}} for name, part in parts]


class Collections(FakeCluster):
    """Answers a read without a name with the collection, as an apiserver does."""

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        return await super().get(resource, namespace, name, not_before) if name else {"metadata": {}, "items": []}


async def test_the_sweep_passes_strange_pods_and_takes_the_orphans_behind_them() -> None:
    run = await orphaned()
    run.cluster.__class__ = Collections
    strange = [run.cluster.add(PODS, body)["metadata"]["name"] for body in strange_pods()]
    run.cluster.now += timedelta(seconds=120)
    rejections, crashes = Rejections(), list[str]()
    sweeper = Sweeper(
        run.cluster,
        ledgers(run.cluster),
        [],
        run.cluster.clock,
        lambda *_: None,
        rejections,
        Guard(Loop.SWEEP, crashes.append),
    )
    for _ in range(4):
        await sweeper.sweep()
        for body in run.cluster.of(PODS):
            meta = body["metadata"]
            if "deletionTimestamp" in meta and meta["namespace"] == "team-a":
                run.cluster.end_pod(meta["name"], 75)
    left = {body["metadata"]["name"] for body in run.cluster.of(PODS)}
    assert left <= set(strange)
    assert {"x", "gpt-trn-1-head"} <= left
    assert rejections.counts["labels"] >= 2
    assert crashes == []


async def test_somebodys_own_pod_is_let_go_by_our_finalizer_and_lives() -> None:
    cluster = Collections()
    cluster.add(PODS, strange_pods()[0])
    cluster.tick(120)
    sweeper = Sweeper(cluster, ledgers(cluster), [], cluster.clock, lambda *_: None)
    await sweeper.sweep()
    (pod,) = cluster.of(PODS)
    assert "deletionTimestamp" not in pod["metadata"], "it is not ours to delete"
    assert not pod["metadata"].get("finalizers")
    assert not cluster.of("api/v1/configmaps"), "nothing is billed"


async def unlabelled_pod(name: str) -> tuple[Scenario, Sweeper]:
    """Somebody's own pod with our finalizer beside a job; the sweeper has been told that our label was taken off it."""
    run = Scenario()
    run.cluster.__class__ = Collections
    meta = {"name": name, "namespace": "team-a", "finalizers": [FINALIZER_POD]}
    run.cluster.add(PODS, {"metadata": meta, "spec": {"containers": []}})
    sweeper = Sweeper(run.cluster, ledgers(run.cluster), [], run.cluster.clock, lambda *_: None)
    sweeper.pod_leaves(clone(run.cluster.pod(name)["metadata"]))
    return run, sweeper


async def test_a_pod_that_has_lost_our_label_is_let_go_before_a_namespace_waits_for_it() -> None:
    run, sweeper = await unlabelled_pod("mine")
    await sweeper.take_overdue()
    assert not run.cluster.pod("mine")["metadata"].get("finalizers")


async def test_one_named_as_a_jobs_is_looked_at_until_it_is_deleted_and_the_job_gone() -> None:
    run, sweeper = await unlabelled_pod("other-cur-1-head")
    await sweeper.take_overdue()
    assert run.cluster.pod("other-cur-1-head")["metadata"]["finalizers"] == [FINALIZER_POD]
    run.cluster.pod("other-cur-1-head")["metadata"]["deletionTimestamp"] = stamp(run.cluster.now)
    await sweeper.take_overdue()
    assert run.pods == []


async def test_few_of_many_that_have_lost_our_label_are_asked_for_at_once_and_all_in_turn() -> None:
    run, sweeper = await unlabelled_pod("first")
    names = [f"mine-{number}" for number in range(50)]
    for name in names:
        meta = {"name": name, "namespace": "team-a", "finalizers": [FINALIZER_POD]}
        sweeper.pod_leaves(run.cluster.add(PODS, {"metadata": meta, "spec": {"containers": []}})["metadata"])
    left = []
    for _ in range(3):
        await sweeper.take_overdue()
        left.append(sum(bool(pod["metadata"].get("finalizers")) for pod in run.cluster.of(PODS)))
    assert left == [31, 11, 0]


async def leaving_pod(name: str, **labels: str) -> tuple[Scenario, Sweeper]:
    """Somebody's own pod with our finalizer beside a job, which is deleted; the sweeper has been told of it."""
    run = Scenario()
    run.cluster.__class__ = Collections
    meta = {"name": name, "namespace": "team-a", "labels": labels, "finalizers": [FINALIZER_POD]}
    run.cluster.add(PODS, {"metadata": meta, "spec": {"containers": []}})
    sweeper = Sweeper(run.cluster, ledgers(run.cluster), [], run.cluster.clock, lambda *_: None)
    pod = run.cluster.pod(name)
    pod["metadata"]["deletionTimestamp"] = stamp(run.cluster.now)
    sweeper.pod_leaves(clone(pod["metadata"]))
    return run, sweeper


async def test_a_pod_that_should_have_gone_is_looked_at_without_waiting_for_the_sweep() -> None:
    """A namespace that is deleted waits for each of its pods, and for nothing else before them."""
    run, sweeper = await leaving_pod("mine", **{"llmtrain.dev/job": "gpt"})
    await sweeper.take_overdue()
    assert run.pods == ["mine"], "its grace may not be over"
    run.cluster.tick(11)
    await sweeper.take_overdue()
    assert run.pods == []


async def test_of_pods_that_have_gone_nobody_is_asked() -> None:
    """Of a cluster of 301 that was taken down, these were 301 requests, one after the other."""
    run, sweeper = await leaving_pod("mine", **{"llmtrain.dev/job": "gpt"})
    sweeper.pod_left(run.cluster.pod("mine")["metadata"]["uid"])
    run.cluster.tick(11)
    before = run.pods
    await sweeper.take_overdue()
    assert run.pods == before, "the pod that was told of as gone was looked at"


@pytest.mark.parametrize(("seconds", "left"), [(11, 1), (901, 0)])
async def test_a_pod_named_as_a_jobs_is_left_to_that_job_for_a_while(seconds: int, left: int) -> None:
    run, sweeper = await leaving_pod("gpt-cur-1-head", **{"llmtrain.dev/job": "gpt"})
    run.cluster.tick(seconds)
    await sweeper.take_overdue()
    assert len(run.pods) == left


async def test_a_jobs_own_pod_that_takes_long_to_go_is_left_to_its_loop() -> None:
    run = Scenario()
    run.cluster.__class__ = Collections
    await run.until_pods()
    (head,) = run.pods
    run.cluster.run_pod(head)
    await run.cluster.delete(PODS, "team-a", head, "", None)
    sweeper = Sweeper(run.cluster, ledgers(run.cluster), [], run.cluster.clock, lambda *_: None)
    sweeper.pod_leaves(clone(run.cluster.pod(head)["metadata"]))
    run.cluster.tick(600)
    await sweeper.take_overdue()
    assert FINALIZER_POD in run.cluster.pod(head)["metadata"]["finalizers"]


class Refused(FakeCluster):
    """Refuses to delete one pod, whoever asks."""

    async def delete(self, resource: str, namespace: str, name: str, uid: str, grace_seconds: int | None) -> None:
        if name.endswith("-head"):
            raise ApiError(403, "Forbidden", "a webhook says no")
        await super().delete(resource, namespace, name, uid, grace_seconds)


async def test_an_orphan_that_cannot_be_deleted_holds_up_no_other() -> None:
    run = await orphaned()
    run.cluster.__class__ = Refused
    await Sweeper(run.cluster, ledgers(run.cluster), [], run.cluster.clock, lambda *_: None).sweep()
    asked = {p["metadata"]["name"]: "deletionTimestamp" in p["metadata"] for p in run.cluster.of(PODS)}
    assert asked == {name: not name.endswith("-head") for name in asked}
    assert len(asked) == 3


BOOKS = ["[" * 200_000, "[]", "7", "{not json", '{"totals": [{}], "settledJobs": []}', '{"totals": []}',
         '{"totals": [{"stage": "Training", "role": 5, "plan": [], "tenure": null, "podSeconds": "x"}], "settledJobs": 7}']  # fmt: skip


@pytest.mark.parametrize("book", BOOKS)
async def test_a_ledger_of_any_content_fails_neither_the_upkeep_nor_the_scrape(book: str) -> None:
    run = Scenario()
    await run.turn(3)
    body = {"metadata": {"name": "llmtrain-ledger", "namespace": "team-a"}, "data": {"ledger.json": book}}
    run.cluster.add("api/v1/configmaps", body)
    run.cluster.add(PLANS, {"metadata": {"name": "zz"}, "spec": CPU_PLAN})
    snapshots, registry = Snapshots(run.cluster.clock), CollectorRegistry()
    snapshots.put(("team-a", "gpt"), run.status, run.job["metadata"]["uid"])
    register_all(registry, snapshots)
    await Upkeep(run.cluster, run.cluster.clock, [], snapshots, ledgers(run.cluster)).look()
    text = generate_latest(registry).decode()
    assert 'llmtrain_job_info{name="gpt"' in text
    assert set(snapshots.plans) == {"cpu", "gpu", "zz"}


@pytest.mark.parametrize(
    "spec", [{}, {"limitUsd": 7}, {"limitUsd": "x"}, {"limitUsd": "1", "jobSelector": []}, {"period": "Never"}]
)
async def test_a_budget_or_plan_that_does_not_parse_is_told_and_passed(spec: dict[str, Any]) -> None:
    run = Scenario()
    run.cluster.add(BUDGETS, {"metadata": {"name": "a", "namespace": "team-a"}, "spec": spec})
    run.cluster.add(BUDGETS, {"metadata": {"name": "b", "namespace": "team-b"}, "spec": {"limitUsd": "5"}})
    run.cluster.add(PLANS, {"metadata": {"name": "aa"}, "spec": {"tenure": "Borrowed"}})
    snapshots, rejections = Snapshots(run.cluster.clock), Rejections()
    upkeep = Upkeep(run.cluster, run.cluster.clock, [], snapshots, ledgers(run.cluster), rejections)
    for _ in range(3):
        await upkeep.look()
    assert [budget.name for budget in snapshots.budgets] == ["b"]
    assert set(snapshots.plans) == {"cpu", "gpu"}
    assert (rejections.counts["budget"], rejections.counts["plan"]) == (1, 1), "told once, not at every look"


class Broken(Collector):
    def collect(self) -> list[Metric]:
        raise TypeError("a bug")


class Sound(Collector):
    def collect(self) -> list[Metric]:
        return [GaugeMetricFamily("sound", "Is there.", value=1)]


def test_a_collector_that_fails_costs_its_own_families(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, crashes = CollectorRegistry(), list[str]()
    monkeypatch.setattr("llmtrain_operator.metrics.JobCollector", lambda _: Broken())
    monkeypatch.setattr("llmtrain_operator.metrics.PlanCollector", lambda _: Sound())
    snapshots = Snapshots(FakeCluster().clock)
    register_all(registry, snapshots, Guard(Loop.SCRAPE, crashes.append))
    assert "sound 1.0" in generate_latest(registry).decode()
    assert crashes == ["scrape"]


def test_the_ledgers_here_are_what_a_tenant_can_write() -> None:
    assert all(isinstance(json.dumps(book), str) for book in BOOKS)


@pytest.mark.parametrize("known", [True, False])
async def test_a_running_jobs_pod_is_left_to_its_loop_whatever_it_says_of_its_job(known: bool) -> None:
    """Its labels say that it is of a job that is gone, its owner was taken off: its job has its bill. Or nobody has looked at it
    yet, and its owner is its job.
    """
    run = Scenario()
    await run.run_training(100)
    run.cluster.tick(100)
    meta = run.cluster.pod("gpt-trn-1-w0-1")["metadata"]
    meta["labels"]["llmtrain.dev/job-uid"] = "forged"
    if known:
        meta["ownerReferences"] = []
    else:
        run.job["status"]["ledger"]["highWater"] = []
    await Sweeper(run.cluster, ledgers(run.cluster), [], run.cluster.clock, lambda *_: None).sweep()
    assert "deletionTimestamp" not in meta
    assert meta["labels"]["llmtrain.dev/job-uid"] == run.job["metadata"]["uid"], "so that its loop finds it"


async def test_a_loop_that_is_cancelled_by_what_it_waits_for_begins_anew() -> None:
    begun, crashes = list[int](), list[str]()

    async def loop() -> None:
        begun.append(1)
        if len(begun) < 3:
            raise asyncio.CancelledError

    await Guard(Loop.SWEEP, crashes.append, longest_pause=0).keep_running(loop)
    assert (len(begun), crashes) == (3, ["sweep", "sweep"])

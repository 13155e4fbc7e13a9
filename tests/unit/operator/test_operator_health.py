"""The operator itself: liveness, loops that crash, the client's manners, the sweep for orphans."""

import asyncio
import urllib.error
import urllib.request
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from llmtrain_operator import jobs as jobs_module
from llmtrain_operator.batches import LARGEST, runs, side_by_side
from llmtrain_operator.client import ApiError, Object, object_path, retry_after
from llmtrain_operator.gate import SIDE_BY_SIDE
from llmtrain_operator.health import LONGEST_SILENCE, LONGEST_TURN, Health, serve
from llmtrain_operator.jobs import Jobs
from llmtrain_operator.memory import Memory, Rest
from llmtrain_operator.metrics import OperatorMetrics
from llmtrain_operator.observation import Action, CreateWorker, DeleteObjects, DeletePod, HoldJob, ReleasePod
from llmtrain_operator.orphans import Sweeper
from llmtrain_operator.podstate import PodState
from llmtrain_operator.progress import ProgressReader
from llmtrain_operator.reconcile import JOBS, Outlook, Reconciler
from llmtrain_operator.rest import Crowd, Kept
from llmtrain_operator.snapshots import Snapshots
from prometheus_client import CollectorRegistry

from tests.unit.operator.booked import booked_micro_usd, ledgers
from tests.unit.operator.scenario import Scenario, recorded_micro_usd
from tests.unit.virtual_time import in_virtual_time


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_stuck_event_loop_and_a_stuck_job_are_both_noticed() -> None:
    clock = Clock()
    health = Health(clock)
    assert health.unreadiness() == "not started yet"
    health.beat()
    health.answering = True
    health.turned(("a", "b"))
    assert (health.ailment(), health.unreadiness()) == ("", "")
    clock.now += LONGEST_SILENCE + 1
    assert "event loop" in health.ailment()
    health.beat()
    assert health.ailment() == ""
    clock.now += LONGEST_TURN
    health.beat()
    assert "a/b" in health.ailment()
    health.forget(("a", "b"))
    assert health.ailment() == ""


def test_an_apiserver_that_is_away_makes_it_unready_but_not_dead() -> None:
    health = Health(Clock())
    health.beat()
    assert health.ailment() == ""
    assert "does not answer" in health.unreadiness()


def test_the_probes_answer_from_a_thread_of_their_own() -> None:
    clock = Clock()
    health = Health(clock)
    server = serve(health, 0)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with urllib.request.urlopen(f"{url}/healthz") as answer:
            assert answer.read() == b"ok"
        with pytest.raises(urllib.error.HTTPError, match="503") as error:
            urllib.request.urlopen(f"{url}/readyz")
        error.value.close()
    finally:
        server.shutdown()
        server.server_close()


TOLD: list[tuple[str, str, str]] = []
"""Of crashes: whose loop, and what it ended in."""
RESTED = Outlook(15)
"""Of a turn of a job at rest."""


def make_jobs(turn: Any) -> tuple[Jobs, CollectorRegistry]:
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry, lambda: 0.0, "1")

    async def rested_turn(memory: Memory, crowd: Crowd) -> Outlook | None:
        return RESTED if memory.rest.kept and not memory.woken else None

    def hears(memory: Memory, crowd: Crowd, ahead: float) -> bool:
        return True

    def glance(memory: Memory, crowd: Crowd) -> None:
        return None

    async def tell_crash(namespace: str, name: str, error: BaseException) -> bool:
        TOLD.append((namespace, name, repr(error)))
        return True

    TOLD.clear()
    reconciler: Any = SimpleNamespace(
        turn=turn, glance=glance, rested_turn=rested_turn, hears=hears, tell_crash=tell_crash
    )
    clock = Clock()
    return Jobs(
        reconciler, Snapshots(lambda: datetime.now(UTC)), metrics, ProgressReader(), clock, Health(clock)
    ), registry


@in_virtual_time
async def test_a_turn_reads_no_older_job_than_anybody_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked = Scenario(), list[str]()
    get = run.cluster.get

    async def noted(resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        asked.extend([not_before] if resource == JOBS else [])
        return await get(resource, namespace, name, not_before)

    monkeypatch.setattr(run.cluster, "get", noted)
    jobs, _ = make_jobs(Reconciler(run.cluster, run.cluster.clock, "jobs:1").turn)
    jobs.ensure("team-a", "gpt", "1")
    await asyncio.sleep(0.05)
    jobs.ensure("team-a", "gpt", "1000000")
    await asyncio.sleep(0.3)
    await jobs.close()
    assert asked[0] == ""
    assert asked[-1] == "1000000"


@in_virtual_time
async def test_a_job_that_somebody_touched_has_a_live_turn_and_one_at_rest_has_none() -> None:
    live = 0

    async def turn(namespace: str, name: str, memory: Memory) -> Outlook:
        nonlocal live
        live += 1
        memory.job.told = ""  # as a read of the job has it
        memory.rest = Rest(Kept(datetime.now(UTC), b""), still=True)
        return Outlook(15)

    jobs, _ = make_jobs(turn)
    jobs.ensure("a", "b", "1")
    await asyncio.sleep(100)
    assert live == 1
    jobs.ensure("a", "b", "2")
    await asyncio.sleep(100)
    await jobs.close()
    assert live == 2


@pytest.mark.parametrize(("told", "turns"), [("7", 1), ("8", 2)])
@in_virtual_time
async def test_a_change_told_of_during_a_turn_wakes_nobody_if_the_turn_made_it(told: str, turns: int) -> None:
    """The watch is often quicker than the answer to the write that it tells of."""
    live = 0

    async def turn(namespace: str, name: str, memory: Memory) -> Outlook:
        nonlocal live
        live += 1
        memory.job.told = ""  # as a read of the job has it
        if live == 1:
            jobs.ensure("a", "b", told)
            memory.job.version = "7"
        else:
            memory.job.version = told
        return Outlook(1000)

    jobs, _ = make_jobs(turn)
    jobs.ensure("a", "b", "1")
    await asyncio.sleep(0.5)
    await jobs.close()
    assert live == turns


EVENT: ContextVar[str] = ContextVar("EVENT")


async def test_a_loop_keeps_nothing_of_the_event_that_began_it() -> None:
    """kopf's handlers run in a context that holds the whole event; a task begun there would hold it for as long as it lives."""
    seen = list[str]()

    async def turn(namespace: str, name: str, memory: Memory) -> Outlook:
        seen.append(EVENT.get("nothing"))
        return Outlook(0, gone=True)

    jobs, _ = make_jobs(turn)
    token = EVENT.set("a large object")
    jobs.ensure("a", "b", "1")
    EVENT.reset(token)
    await asyncio.gather(*(loop.task for loop in list(jobs.loops.values()) if loop.task))
    await jobs.close()
    assert seen == ["nothing"]


@in_virtual_time
async def test_a_thousand_loops_that_begin_together_have_their_turns_in_order() -> None:
    under_way, most, begun = 0, 0, list[str]()

    async def turn(namespace: str, name: str, memory: Memory) -> Outlook:
        nonlocal under_way, most
        begun.append(name)
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return Outlook(0, gone=True)

    jobs, _ = make_jobs(turn)
    names = [f"job-{number}" for number in range(1000)]
    for name in names:
        jobs.ensure("a", name, "1")
    await asyncio.gather(*(loop.task for loop in list(jobs.loops.values()) if loop.task))
    await jobs.close()
    assert begun == names
    assert most == SIDE_BY_SIDE


async def test_after_an_error_the_job_is_read_as_it_is_now() -> None:
    run = Scenario()
    await run.turn()
    run.memory.job.told = "99999999999"  # of a database that has since been put back to an older state

    async def refused(resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        raise ApiError(504, "Timeout", "Too large resource version")

    reconciler = Reconciler(run.cluster, run.cluster.clock, "jobs:1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run.cluster, "get", refused)
        with pytest.raises(ApiError):
            await reconciler.turn("team-a", "gpt", run.memory)
    assert (run.memory.job.told, run.memory.job.version) == ("", "")
    await run.turn()


@in_virtual_time
async def test_a_loop_that_ends_in_a_bug_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "LONGEST_ERROR_PAUSE", 0.01)
    calls = 0

    async def turn(namespace: str, name: str, memory: Memory) -> Outlook:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise KeyError("a bug")
        return Outlook(0, gone=True)

    jobs, registry = make_jobs(turn)
    jobs.ensure("a", "b", "1")
    for _ in range(200):
        await asyncio.sleep(0.01)
        if not jobs.loops:
            break
    assert calls == 4
    assert TOLD == [("a", "b", "KeyError('a bug')")] * 3
    assert registry.get_sample_value("llmtrain_operator_loop_crashes_total", {"loop": "job"}) == 3
    assert registry.get_sample_value("llmtrain_operator_reconcile_errors_total") == 3
    await jobs.close()


async def test_the_wait_from_wake_up_to_turn_is_measured_and_the_queue_counted() -> None:
    began = asyncio.Event()

    async def turn(namespace: str, name: str, memory: Memory) -> Outlook:
        began.set()
        return Outlook(1000)

    jobs, registry = make_jobs(turn)
    jobs.ensure("a", "b", "1")
    assert jobs.waiting() == 1
    await began.wait()
    assert jobs.waiting() == 0
    assert registry.get_sample_value("llmtrain_operator_reconcile_wait_seconds_count") == 1
    await jobs.close()


@pytest.mark.parametrize(
    ("headers", "attempt", "seconds"),
    [({"Retry-After": "7"}, 1, 7), ({"retry-after": "600"}, 1, 30), ({}, 1, 0.25), ({}, 4, 2),
     ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 2, 0.5)],
)  # fmt: skip
def test_retry_after_is_honoured_within_bounds(headers: dict[str, str], attempt: int, seconds: float) -> None:
    assert retry_after(headers, attempt) == seconds


@pytest.mark.parametrize("name", ["../secrets/a", "a/b", "..", ".", "a%2fb", "a?b", "a b", "-a"])
def test_a_name_that_would_lead_elsewhere_never_enters_a_path(name: str) -> None:
    for namespace, own in (("team-a", name), (name, "gpt")):
        with pytest.raises(ApiError, match="is no name"):
            object_path("api/v1/pods", namespace, own)


def pod(name: str) -> PodState:
    return PodState({"metadata": {"name": name, "uid": name}})


def test_neighbours_of_a_kind_are_carried_out_together_and_nothing_is_reordered() -> None:
    deletes = [DeletePod(pod(str(n))) for n in range(60)]
    attempt: Any = None
    ends = [ReleasePod(pod(str(n))) for n in range(3)]
    actions: list[Action] = [HoldJob(), *deletes, *[DeleteObjects(attempt)] * 2, *ends, DeletePod(pod("0"), 0)]
    parts = list(runs(actions))
    assert [len(part) for part in parts] == [1, 62, 3, 1]
    assert [action for part in parts for action in part] == actions


def creates(count: int) -> list[Action]:
    blueprint: Any = None
    return [CreateWorker(blueprint, index, 1) for index in range(count)]


class Slow:
    """Each act takes one turn of the loop and counts who else is under way."""

    def __init__(self) -> None:
        self.under_way = 0
        self.begun: list[int] = []

    async def perform(self, action: Action) -> None:
        self.under_way += 1
        self.begun.append(self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1


async def test_the_first_act_is_alone_five_follow_and_never_are_more_than_half_of_what_the_operator_may_ask() -> None:
    performer = Slow()
    await side_by_side(performer, creates(300))
    assert len(performer.begun) == 300
    assert performer.begun[:7] == [1, *range(1, 6), 1]
    assert max(performer.begun) == LARGEST == 25


async def test_what_takes_a_cluster_down_does_not_wait_for_its_first_act() -> None:
    performer = Slow()
    await side_by_side(performer, [DeletePod(pod(str(n))) for n in range(300)])
    assert performer.begun[:11] == [*range(1, 11), 1]
    assert max(performer.begun) == LARGEST


class Crowded(Slow):
    """An apiserver with time for five: each answer takes as long as the queue before it."""

    async def perform(self, action: Action) -> None:
        self.under_way += 1
        self.begun.append(self.under_way)
        await asyncio.sleep(0.04 * self.under_way)
        self.under_way -= 1


@pytest.mark.parametrize(
    ("actions", "at_once"), [(creates(100), 5), ([DeletePod(pod(str(n))) for n in range(100)], 10)], ids=["come", "go"]
)
@in_virtual_time
async def test_an_apiserver_with_no_time_left_is_asked_for_less_at_once(actions: list[Action], at_once: int) -> None:
    performer = Crowded()
    await side_by_side(performer, actions)
    late = performer.begun[-30:]
    assert len(performer.begun) == 100
    assert sum(late) / len(late) == pytest.approx(at_once, abs=1)


class Refusing:
    def __init__(self) -> None:
        self.asked = 0

    async def perform(self, action: Action) -> None:
        self.asked += 1
        raise ApiError(403, "Forbidden", "exceeded quota")


async def test_a_refusal_is_asked_for_once_not_three_hundred_times() -> None:
    performer = Refusing()
    results = await side_by_side(performer, creates(300))
    assert [one.error is not None and "quota" in one.error.message for one in results] == [True]
    assert performer.asked == 1


async def orphaned() -> Scenario:
    """Paid pods whose job somebody removed by taking its finalizer off."""
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    while not run.pods:
        await run.turn()
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(100)
    await run.turn()
    del run.cluster.objects[(JOBS, "team-a", "gpt")]
    return run


async def sweep(run: Scenario, times: int = 1) -> int:
    left = 0
    for _ in range(times):
        left = await Sweeper(run.cluster, ledgers(run.cluster), [], run.cluster.clock, lambda *_: None).sweep()
        run.cluster.tick(1)
        for body in run.cluster.of("api/v1/pods"):
            if "deletionTimestamp" in body["metadata"] and body["status"].get("phase") == "Running":
                run.cluster.end_pod(body["metadata"]["name"], 75)
    return left


async def test_orphans_are_taken_down_and_booked_once() -> None:
    run = await orphaned()
    paid = {name: run.cluster.pod(name)["metadata"]["uid"] for name in run.pods}
    assert await sweep(run) == 3
    assert await sweep(run, 4) == 0
    assert run.pods == []
    orphans_only = {uid: run.cluster.final_pods[uid] for uid in paid.values()}
    run.cluster.final_pods = orphans_only
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster) > 0


async def test_a_job_made_anew_under_the_same_name_does_not_shield_the_old_ones_pods() -> None:
    run = await orphaned()
    run.cluster.add(JOBS, {"metadata": {"name": "gpt", "namespace": "team-a"}, "spec": {}})
    await sweep(run, 5)
    assert run.pods == []


async def test_pods_of_living_jobs_and_young_pods_are_left_alone() -> None:
    run = Scenario()
    await run.run_stage()
    while not run.pods:
        await run.turn()
    run.cluster.tick(3600)
    assert await sweep(run) == 0
    young = await orphaned()
    young.cluster.now -= timedelta(seconds=75)
    assert await sweep(young) == 0
    assert len(young.pods) == 3


async def test_the_sweep_starts_the_loop_of_a_job_that_no_event_told_of() -> None:
    run = Scenario()
    seen: list[tuple[str, str, str]] = []
    await Sweeper(
        run.cluster, ledgers(run.cluster), ["team-a"], run.cluster.clock, lambda *key: seen.append(key)
    ).sweep()
    assert seen == [("team-a", "gpt", run.job["metadata"]["resourceVersion"])]


@in_virtual_time
async def test_a_job_loop_that_is_cancelled_by_what_it_waits_for_is_started_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llmtrain_operator.jobs.LONGEST_ERROR_PAUSE", 0.01)
    turned = asyncio.Event()

    async def turn(namespace: str, name: str, memory: Memory) -> Outlook:
        if not TOLD:
            raise asyncio.CancelledError
        turned.set()
        return Outlook(60)

    jobs, registry = make_jobs(turn)
    jobs.ensure("a", "j", "1")
    await asyncio.wait_for(turned.wait(), 5)
    assert registry.get_sample_value("llmtrain_operator_loop_crashes_total", {"loop": "job"}) == 1
    await jobs.close()
    await asyncio.sleep(0.05)
    assert [loop.crashes for loop in jobs.loops.values()] == [0], "nothing is started anew that was to end"


@pytest.mark.parametrize("told", [True, False])
@in_virtual_time
async def test_a_job_made_under_the_name_of_one_that_goes_has_a_loop(told: bool) -> None:
    """Its event may come while the last turn of its predecessor ends, or that turn may read it."""
    memories = list[Memory]()
    turned = asyncio.Event()

    async def turn(namespace: str, name: str, memory: Memory) -> Outlook:
        memories.append(memory)
        if len(memories) > 1:
            turned.set()
            return Outlook(60)
        if told:
            jobs.ensure("a", "j", "7", {"metadata": {"resourceVersion": "7"}})
        return Outlook(0, gone=True) if told else Outlook(0, gone=True, anew=True)

    jobs, _ = make_jobs(turn)
    jobs.ensure("a", "j", "1")
    await asyncio.wait_for(turned.wait(), 5)
    assert memories[0] is not memories[1]
    assert TOLD == []
    await jobs.close()

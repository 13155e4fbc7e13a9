"""A namespace's counters go on over jobs that went without being booked, and count those once that are booked late."""

import json
from datetime import timedelta

import pytest
from llmtrain_operator import departed
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.departed import Departed, beyond
from llmtrain_operator.figures import Bill, PodTotal, Total
from llmtrain_operator.ledger_books import Book
from llmtrain_operator.metrics import register_all
from llmtrain_operator.names import FINALIZER_JOB
from llmtrain_operator.orphans import Sweeper
from llmtrain_operator.reconcile import JOBS
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.takeover import CONFIG_MAPS
from llmtrain_operator.upkeep import Upkeep
from prometheus_client import CollectorRegistry

from llmtrain.api.status import HighWater, JobStatus, Ledger, LedgerEntry, Stage
from llmtrain.ledger.document import Booking, Row
from tests.unit.operator.booked import HOME, booked_micro_usd, ledgers
from tests.unit.operator.fake_cluster import START
from tests.unit.operator.scenario import Scenario, recorded_micro_usd
from tests.unit.operator.test_namespace_ledger import booking

SPACE, KEY = "team-a", ("team-a", "gpt")
HEAD, WORKER = ("Training", "head", "cpu", "Rented"), ("Training", "worker", "gpu", "Rented")
Sums = dict[tuple[str, str, str, str], int]


def bill(settled: int = 0, provisional: dict[str, int] | None = None, held: tuple[str, ...] = ()) -> Bill:
    """Of a head that is settled and workers that are not, by their uids; `held`: settled pods not let go yet."""
    pods = tuple(PodTotal(uid, WORKER, Total(cost_micro_usd=cost)) for uid, cost in (provisional or {}).items())
    workers = Total(cost_micro_usd=sum((provisional or {}).values()))
    return Bill({HEAD: Total(cost_micro_usd=settled), WORKER: workers}, pods, held)


def pods(**costs: int) -> Book:
    """Workers that are booked after their job had gone."""
    one_by_one = {uid: {WORKER: Total(cost_micro_usd=cost)} for uid, cost in costs.items()}
    return Book({WORKER: Total(cost_micro_usd=sum(costs.values()))}, set(costs), one_by_one)


LACKING: list[tuple[str, Bill, Book, Sums]] = [
    ("in no book", bill(5, {"p": 7}), Book(), {HEAD: 5, WORKER: 7}),
    ("another is booked", bill(5, {"p": 7}), Book(uids={"other"}), {HEAD: 5, WORKER: 7}),
    ("booked", bill(5, {"p": 7}), Book(uids={"job"}), {}),
    ("one of its pods is booked for more", bill(5, {"p": 7, "q": 8}), pods(p=9), {HEAD: 5, WORKER: 8}),
    ("for less", bill(5, {"p": 7, "q": 8}), pods(p=1), {HEAD: 5, WORKER: 8}),
    ("all of its pods are", bill(5, {"p": 7, "q": 8}), pods(p=9, q=9), {HEAD: 5, WORKER: 0}),
    ("another's pod is", bill(5, {"p": 7}), pods(r=9), {HEAD: 5, WORKER: 7}),
    ("a settled pod was held and is booked again", Bill({WORKER: Total(cost_micro_usd=20)}, (), ("p",)), pods(p=9),
     {WORKER: 11}),
    ("a settled pod was held and let go", Bill({WORKER: Total(cost_micro_usd=20)}, (), ("p",)), Book(), {WORKER: 20}),
    ("an earlier operator had booked it", bill(5), Book(carried_uids={"job"}), {}),
    ("a list that anybody may edit, of a job that ran", bill(5, {"p": 7}), Book(carried_uids={"job"}),
     {HEAD: 5, WORKER: 7}),
]  # fmt: skip


@pytest.mark.parametrize(("told", "book", "expected"), [row[1:] for row in LACKING], ids=[row[0] for row in LACKING])
def test_what_a_book_lacks_of_a_job(told: Bill, book: Book, expected: Sums) -> None:
    assert {labels: total.cost_micro_usd for labels, total in beyond("job", told, book).items()} == expected


TIDIED: list[tuple[str, list[tuple[str, int]], Book, list[str], int]] = [
    ("few", [("a", 1), ("b", 2)], Book(), ["a", "b"], 0),
    ("booked ones go", [("a", 1), ("b", 2)], Book(uids={"a"}), ["b"], 0),
    ("the oldest of too many are folded, their settled part", [("a", 1), ("b", 2), ("c", 3)], Book(), ["b", "c"], 10),
    ("never one that may have been booked since", [("a", 8), ("b", 9), ("c", 9)], Book(), ["a", "b", "c"], 0),
    ("folded without a pod that is booked", [("a", 1), ("b", 2), ("c", 3)], pods(pa=9), ["b", "c"], 10),
]


@pytest.mark.parametrize(
    ("gone", "book", "left", "folded"), [row[1:] for row in TIDIED], ids=[row[0] for row in TIDIED]
)
def test_they_are_bounded(
    gone: list[tuple[str, int]], book: Book, left: list[str], folded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger was asked after five seconds; each job has 10 microdollars settled and seven of a pod that is not."""
    monkeypatch.setattr(departed, "MOST_APART", 2)
    mine = Departed(START)
    for uid, second in gone:
        mine.leave(uid, bill(10, {f"p{uid}": 7}), START + timedelta(seconds=second))
    assert mine.tidy(book, START + timedelta(seconds=5))
    assert list(mine.apart) == left
    assert sum(total.cost_micro_usd for total in mine.folded.values()) == folded


def test_they_are_bounded_while_no_ledger_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departed, "MOST_UNKNOWN", 2)
    mine = Departed(START)
    for uid in ("a", "b", "c"):
        mine.leave(uid, bill(10), START)
    assert list(mine.apart) == ["b", "c"]


def test_nothing_is_kept_of_jobs_that_are_booked_or_there_again() -> None:
    snapshots = Snapshots(lambda: START)
    status = JobStatus(ledger=Ledger(entries=[LedgerEntry(stage=Stage.TRAINING, role="head", cost_micro_usd=5)]))
    for uid in ("booked", "back"):
        snapshots.put((SPACE, uid), status, uid)
        snapshots.drop((SPACE, uid))
    snapshots.put((SPACE, "back"), status, "back")
    later = START + timedelta(seconds=1)
    snapshots.take_books(later, {SPACE: Book(uids={"booked"})}, [])
    assert {labels[1]: total.cost_micro_usd for labels, total in snapshots.namespaces()[SPACE].totals.items()} == {
        "head": 5
    }
    assert snapshots.lacking() == set()


class Watched:
    """A job and what is told of its namespace; every reading is compared with the one before."""

    def __init__(self) -> None:
        self.run = Scenario()
        self.cluster, clock = self.run.cluster, self.run.cluster.clock
        self.snapshots, self.registry, self.ledgers = Snapshots(clock), CollectorRegistry(), ledgers(self.cluster)
        register_all(self.registry, self.snapshots)
        self.upkeep = Upkeep(self.cluster, clock, [], self.snapshots, self.ledgers)
        self.sweeper = Sweeper(self.cluster, self.ledgers, [], clock, lambda *_: None)
        self.readings: list[dict[tuple[str, ...], float]] = []

    async def turn(self) -> None:
        outlook = await self.run.turn()
        if outlook.status is not None:
            self.snapshots.put(KEY, outlook.status, outlook.uid)
        if outlook.gone:
            self.snapshots.drop(KEY)
        self.told()

    async def look(self, seconds: int = 15) -> float:
        self.cluster.tick(seconds)
        await self.upkeep.look()
        return self.told()

    def told(self) -> float:
        """The namespace's dollars; no series of it has fallen or gone."""
        names = ("llmtrain_namespace_cost_usd_total", "llmtrain_namespace_pod_seconds_total")
        found = [s for family in self.registry.collect() for s in family.samples if s.name in names]
        self.readings.append({(s.name, *sorted(s.labels.values())): s.value for s in found})
        before, after = ([{}, {}, *self.readings])[-2:]
        assert {key: value for key, value in before.items() if after.get(key, 0.0) < value} == {}
        return round(sum(s.value for s in found if s.name == names[0]), 6)

    async def run_a_while(self) -> None:
        await self.run.run_training(100)
        await self.turn()
        await self.look()
        assert self.told() > 0

    async def strip(self) -> None:
        """Somebody takes the finalizer off the job and deletes it."""
        self.run.job["metadata"]["finalizers"].remove(FINALIZER_JOB)
        await self.cluster.delete(JOBS, *KEY, "", None)
        await self.turn()
        assert self.cluster.of(JOBS) == []

    async def sweep(self) -> None:
        """Until nothing is left to take down."""
        for _ in range(4):
            self.cluster.tick(61)
            await self.sweeper.sweep()
            for name in self.run.pods:
                self.cluster.end_pod(name, 75)
            await self.look()
        assert self.run.pods == []

    def close_ledger(self) -> None:
        """Its namespace takes nothing."""

        def refuse(resource: str, body: Object) -> ApiError | None:
            mine = resource == CONFIG_MAPS and body["metadata"].get("namespace") == HOME
            return ApiError(403, "Forbidden", "it is being terminated") if mine else None

        self.cluster.refuse = refuse

    async def let_go_unbooked(self) -> None:
        """Delete the job while the ledger takes nothing."""
        self.close_ledger()
        await self.cluster.delete(JOBS, *KEY, "", None)
        for _ in range(60):
            if self.cluster.of(JOBS):
                await self.run.drain_step()
            if self.cluster.of(JOBS):
                self.snapshots.put(KEY, self.run.status, self.run.job["metadata"]["uid"])
        await self.turn()
        self.cluster.refuse = lambda *_: None
        assert self.cluster.of(JOBS) == []


@pytest.fixture
async def watched() -> Watched:
    watched = Watched()
    await watched.run_a_while()
    return watched


@pytest.mark.parametrize("closed", [False, True], ids=["booked as last seen", "the ledger took nothing then"])
async def test_a_job_whose_finalizer_is_stripped_stays_told_and_its_pods_count_once(
    closed: bool, watched: Watched
) -> None:
    if closed:
        watched.close_ledger()
    await watched.strip()
    watched.cluster.refuse = lambda *_: None
    await watched.look()
    await watched.sweep()
    bill = recorded_micro_usd(watched.cluster)
    assert watched.told() == bill / 1e6
    assert 0 < booked_micro_usd(watched.cluster) <= bill
    assert (booked_micro_usd(watched.cluster) < bill) is closed, "what was settled before is in no ledger"
    watched.cluster.now += timedelta(days=3)
    assert await watched.look() == bill / 1e6
    curated = Row(stage=Stage.CURATION, role="head", plan="cpu", tenure="Rented", cost_micro_usd=4_000_000)
    await watched.ledgers.book(SPACE, booking("next", 1).model_copy(update={"rows": [curated]}))
    assert await watched.look() == round(bill / 1e6 + 4, 6), "what no ledger has is told beside what others add"


async def test_pods_that_are_booked_for_less_than_was_told_let_no_counter_fall(watched: Watched) -> None:
    """The plan became cheaper since; then the next bill is told from where the counter stands."""
    price = watched.cluster.objects[("apis/llmtrain.dev/v1alpha1/computeplans", "", "gpu")]["spec"]
    price["rented"]["acceleratorHourUsd"] = "0.01"
    await watched.strip()
    await watched.sweep()
    stands = watched.told()
    await watched.ledgers.book(SPACE, booking("next", 5_000_000))
    assert stands < await watched.look() < stands + 5


async def test_a_job_that_is_let_go_unbooked_stays_told_with_what_is_booked_of_others(watched: Watched) -> None:
    await watched.let_go_unbooked()
    assert booked_micro_usd(watched.cluster) == 0
    bill = await watched.look()
    assert bill == recorded_micro_usd(watched.cluster) / 1e6 > 0
    await watched.ledgers.book(SPACE, booking("next", 3_000_000))
    assert await watched.look() == round(bill + 3, 6)
    watched.cluster.now += timedelta(days=20)
    assert await watched.look() == round(bill + 3, 6)


async def test_a_namespace_that_has_nothing_but_a_job_in_no_ledger_is_told_until_next_month_ends(
    watched: Watched,
) -> None:
    await watched.let_go_unbooked()
    bill = await watched.look()
    for days in (1, 29, 30):
        watched.cluster.now += timedelta(days=days)
        assert await watched.look() == bill
    watched.readings.clear()
    watched.cluster.now = START + timedelta(days=62)
    assert await watched.look() == 0
    assert set(watched.readings[-1]) == set(), "a gap"
    await watched.ledgers.book(SPACE, booking("next", 3_000_000, "2026-05-02T00:00:00Z"))
    assert await watched.look() == round(bill + 3, 6)


async def test_a_job_that_is_booked_after_it_went_counts_once(watched: Watched) -> None:
    await watched.let_go_unbooked()
    before = await watched.look()
    late = [*watched.snapshots._departed[SPACE].apart.items()]
    assert len(late) == 1
    rows = [{"stage": stage, "role": role, "plan": plan, "tenure": tenure, "podSeconds": total.pod_seconds,
             "costMicroUsd": total.cost_micro_usd}
            for (stage, role, plan, tenure), total in late[0][1][1].totals.items()]  # fmt: skip
    body = {"kind": "Job", "uid": late[0][0], "job": "gpt", "jobUid": late[0][0], "deleted": "2026-03-01T12:30:00Z"}
    await watched.ledgers.book(SPACE, Booking.model_validate_json(json.dumps(body | {"rows": rows})))
    assert await watched.look() == before == booked_micro_usd(watched.cluster) / 1e6
    assert watched.snapshots._departed == {}


async def test_a_job_of_the_same_name_does_not_take_the_others_place(watched: Watched) -> None:
    """The finalizer is stripped and the job made anew before anybody has looked."""
    before = watched.told()
    del watched.cluster.objects[(JOBS, *KEY)]
    labels = {"stage": Stage.TRAINING, "role": "worker", "plan": "gpu", "tenure": "Rented"}
    amounts = {"pod_seconds": 3, "cost_micro_usd": 1_000_000}
    price = {"micro_usd_per_hour": 1, "increment_seconds": 1, "minimum_seconds": 0}
    fresh = Ledger(high_water=[HighWater.model_validate({"uid": "p"} | labels | amounts | price)])
    watched.snapshots.put(KEY, JobStatus(ledger=fresh), "another")
    assert watched.told() == round(before + 1, 6)

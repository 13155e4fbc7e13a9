"""What a calendar month costs, as a gauge of each namespace: what `llmtrain cost --month` says, and what is certain never falls."""

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from llmtrain_operator import departed
from llmtrain_operator.departed import Departed
from llmtrain_operator.figures import Bill, PodTotal, Total, bill
from llmtrain_operator.ledger_books import Book, months_near
from llmtrain_operator.metrics import register_all
from llmtrain_operator.monthly import ClosedSum, Months, parts_of_mark, told_by_month
from llmtrain_operator.reconcile import JOBS
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.takeover import CONFIG_MAPS
from llmtrain_operator.upkeep import Upkeep
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from llmtrain.api.status import HighWater, JobStatus, Stage
from llmtrain.cli.main import app
from llmtrain.ledger.lines import job_lines, months_of_mark
from llmtrain.ledger.periods import month_micro_usd
from tests.unit.operator.booked import booked_micro_usd, ledgers
from tests.unit.operator.fake_cluster import START
from tests.unit.operator.scenario import Scenario, recorded_micro_usd
from tests.unit.operator.test_closing import SPACE, Life, World, money, some_world
from tests.unit.operator.test_departed import HEAD, Watched
from tests.unit.operator.test_namespace_ledger import booking
from tests.unit.operator.test_owed import Recorded, recording

METRIC = "llmtrain_namespace_period_cost_usd"
COUNTERS = ("cost_usd", "pod_seconds", "accelerator_seconds", "waste_usd", "energy_joules")
DAY = 86400


@dataclass
class Told:
    """An operator beside a world: it knows the jobs that are there, and reads the ledger as it does."""

    world: World
    registry: CollectorRegistry = field(init=False)
    snapshots: Snapshots = field(init=False)
    upkeep: Upkeep = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        cluster = self.world.cluster
        self.registry, self.snapshots = CollectorRegistry(), Snapshots(cluster.clock)
        register_all(self.registry, self.snapshots)
        self.upkeep = Upkeep(cluster, cluster.clock, [], self.snapshots, ledgers(cluster))

    async def look(self) -> None:
        """Every job has a turn, and the ledger is read; again once months were closed."""
        there = {body["metadata"]["name"]: body for body in self.world.cluster.of(JOBS)}
        for key in [key for key in self.snapshots.jobs if key[1] not in there]:
            self.snapshots.drop(key)
        for name, body in there.items():
            status = JobStatus.model_validate(body["status"])
            self.snapshots.put((SPACE, name), status, name, body["metadata"].get("creationTimestamp", ""))
        for _ in range(2):
            await self.upkeep.look()

    def months(self) -> Months:
        """Microdollars by month, as a scrape has them."""
        samples = [s for family in self.registry.collect() for s in family.samples if s.name == METRIC]
        return {s.labels["month"]: round(s.value * 1e6) for s in samples if s.labels["namespace"] == SPACE}


@pytest.mark.parametrize("seed", range(12))
async def test_a_month_is_what_its_entries_add_up_to(seed: int) -> None:
    """Over random lives, deletions, pods that are found late, restarts and months that are closed."""
    chance = random.Random(seed)
    world = some_world(chance)
    told, second, seen = Told(world), 0, 0
    while second < 330 * DAY:
        second += chance.randrange(1, 25 * DAY)
        await world.at(second)
        if chance.random() < 0.3:
            told.restart()
        await told.look()
        found = told.months()
        last, this, _ = months_near(world.cluster.now)
        assert found.keys() in ({last, this}, set())
        for month, micro in found.items():
            assert micro == money(world.entries(month)), f"day {second / DAY}: {month}"
            seen += micro > 0
    assert seen


async def test_what_is_found_of_a_closed_month_is_told_of_the_first_open_one() -> None:
    late = Life("gone", 30 * DAY, 32 * DAY, found=64 * DAY)
    world = World([Life("gone", 0, DAY), late, Life("other", 55 * DAY, 90 * DAY)], {"gone": 33 * DAY})
    told = Told(world)
    await world.at(63 * DAY)
    await told.look()
    assert [page["metadata"]["name"] for page in world.cluster.of(CONFIG_MAPS) if "closed" in page["metadata"]["name"]]
    before = told.months()
    await world.at(65 * DAY)
    await told.look()
    assert told.months()["2026-02"] == before["2026-02"] + late.cost(32 * DAY)
    assert told.months()["2026-02"] == money(world.entries("2026-02"))


async def test_it_is_what_the_command_says(tmp_path: Path) -> None:
    world = World(
        [Life("a", 28 * DAY, 45 * DAY), Life("b", 40 * DAY, 70 * DAY), Life("c", 58 * DAY, 61 * DAY)], {"a": 46 * DAY}
    )
    told = Told(world)
    for day in (44, 47, 60, 66, 70):
        await world.at(day * DAY)
        await told.look()
        saved = tmp_path / f"{day}.json"
        saved.write_text(json.dumps({"items": world.items()}, default=str))
        assert len(told.months()) == 2
        for month, micro in told.months().items():
            done = CliRunner().invoke(app, ["cost", "-n", SPACE, "--month", month, "--from", str(saved)])
            assert f"{SPACE} {month}: {micro / 1e6:.6f} USD" in done.output, done.output


async def test_a_namespace_with_a_document_that_cannot_be_read_has_no_months() -> None:
    """No sum is right without it; the command refuses too."""
    world = World([Life("a", 0, DAY)], {"a": 2 * DAY})
    await world.at(3 * DAY)
    page = next(body for body in world.cluster.of(CONFIG_MAPS) if "2026-01" in body["metadata"]["name"])
    whole = page["data"]["ledger.json"]
    page["data"]["ledger.json"] = "{"
    told = Told(world)
    await told.look()
    assert told.months() == {}
    page["data"]["ledger.json"], page["metadata"]["resourceVersion"] = whole, "mended"
    await told.look()
    assert told.months() == {"2025-12": 0, "2026-01": world.owed(3 * DAY)}


async def test_a_job_that_went_unbooked_is_in_its_month_as_it_is_in_the_counter() -> None:
    """Until the operator is restarted: the command has it no more."""
    watched = Watched()
    await watched.run_a_while()
    assert this_month(watched.registry) == watched.told() > 0
    await watched.let_go_unbooked()
    bill = await watched.look()
    assert this_month(watched.registry) == bill == recorded_micro_usd(watched.cluster) / 1e6
    assert booked_micro_usd(watched.cluster) == 0
    await watched.ledgers.book(SPACE, booking("next", 3_000_000))
    assert await watched.look() == round(bill + 3, 6)
    assert this_month(watched.registry) == round(bill + 3, 6)


async def test_a_job_whose_finalizer_is_stripped_is_in_its_month_as_the_ledger_has_it_pod_by_pod() -> None:
    """The counter stands until the pods are booked; the month is what finance would be told."""
    watched = Watched()
    await watched.run_a_while()
    before = this_month(watched.registry)
    await watched.strip()
    await watched.look()
    assert 0 < this_month(watched.registry) == booked_micro_usd(watched.cluster) / 1e6 < before
    await watched.sweep()
    assert this_month(watched.registry) == watched.told() == recorded_micro_usd(watched.cluster) / 1e6 > before


def test_the_oldest_of_too_many_that_went_keep_their_settled_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departed, "MOST_APART", 2)
    mine = Departed(START)
    for second, uid in enumerate("abc"):
        pod = PodTotal(f"p{uid}", HEAD, Total(), (("2026-02", 3), ("2026-03", 4)))
        gone = Bill({HEAD: Total()}, (pod,), (), {"2026-02": 5, "2026-03": 12})
        mine.leave(uid, gone, START + timedelta(seconds=second))
    assert mine.tidy(Book(), START + timedelta(seconds=5))
    assert mine.folded_months == {"2026-02": 2, "2026-03": 8}
    assert list(mine.months_beyond(Book(pod_months={"pb": {"2026-03": 9}}, pods={"pb": {}}))) == [
        {"2026-02": 2, "2026-03": 8},
        {"2026-02": 2, "2026-03": 8},
        {"2026-02": 5, "2026-03": 12},
    ]


def this_month(registry: CollectorRegistry) -> float:
    """Dollars of all months that are told."""
    return round(sum(s.value for family in registry.collect() for s in family.samples if s.name == METRIC), 6)


@pytest.mark.parametrize(
    "start",
    ["2026-03-31T23:00:00Z", "2026-03-31T23:59:50Z", "2026-03-31T23:59:50.5Z", "2026-04-01T00:00:00Z", None, "soon"],
)
@pytest.mark.parametrize("seconds", [0, 9, 10, 11, 3599, 3600, 3601, 3000000])
@pytest.mark.parametrize("minimum", [0, 60])
def test_a_pod_alive_is_cut_as_its_lines_are(start: str | None, seconds: int, minimum: int) -> None:
    mark = HighWater(uid="u", stage=Stage.TRAINING, role="head", start_time=start, pod_seconds=seconds, cost_micro_usd=7,
                     micro_usd_per_hour=3_990_001, increment_seconds=60, minimum_seconds=minimum)  # fmt: skip
    expected = [(part.month or "2026-02", part.cost_micro_usd) for part in months_of_mark(mark)]
    assert list(parts_of_mark(mark, "2026-02-07T00:00:00Z")) == expected


@pytest.mark.parametrize(
    ("month", "stages", "expected"),
    [("2026-03", {}, "2026-03"), ("", {"startTime": "2026-02-28T23:59:59Z"}, "2026-02"), ("", {}, "2026-01")],
    ids=["it says", "when its stage began", "when the job was made"],
)
def test_what_an_early_version_settled_has_the_month_that_its_line_has(
    month: str, stages: dict[str, str], expected: str
) -> None:
    """A stage that the manifest has no more left its bill; an early version said of none when it had accrued."""
    entries = [{"stage": "Training", "role": "head", "costMicroUsd": 5} | ({"month": month} if month else {})]
    status = {"ledger": {"entries": entries}, "stages": [{"name": "Training"} | stages] if stages else []}
    meta = {"namespace": SPACE, "name": "gpt", "uid": "u", "creationTimestamp": "2026-01-31T12:00:00Z"}
    assert [line.month for line in job_lines({"metadata": meta, "status": status})] == [expected]
    assert bill(JobStatus.model_validate(status), meta["creationTimestamp"]).months == {expected: 5}


async def test_a_turn_tells_when_the_job_was_made() -> None:
    run = Scenario()
    run.job["metadata"]["creationTimestamp"] = "2026-01-31T12:00:00Z"
    assert {(await run.turn()).created for _ in range(4)} == {"2026-01-31T12:00:00Z"}


def page(month: str, micro: int, number: int = 1, *others: str) -> ClosedSum:
    return ClosedSum(month, number, f"d{number}", others, micro)


@pytest.mark.parametrize(
    ("pages", "sums"),
    [
        ([], {}),
        ([page("2026-01", 5), page("2026-02", 7)], {"2026-01": 5, "2026-02": 7}),
        ([page("2026-01", 5, 1, "d2"), page("2026-01", 3, 2)], {"2026-01": 8}),
        ([page("2026-01", 5), page("2026-01", 3, 2)], {"2026-01": 5}),
        ([page("2026-01", 3, 2)], {}),
        ([page("2026-01", 5, 1, "d2")], None),
        ([page("2026-01", 5, 1, "d2"), page("2026-02", 3, 2)], None),
    ],
    ids=["none", "two months", "two pages", "another operator's", "never finished", "one lacks", "another month's"],
)
def test_what_closed_months_were_told_to_be(pages: list[ClosedSum], sums: Months | None) -> None:
    assert told_by_month(pages) == sums


KNOWN = {"2026-01": 10, "2026-02": 20, "2026-03": 30}


@pytest.mark.parametrize(
    ("closed", "months"),
    [
        ({}, [10, 20, 30, 0]),
        ({"2026-01": 10}, [10, 20, 30, 0]),
        ({"2026-01": 9}, [9, 21, 30, 0]),
        ({"2026-01": 11}, [11, 19, 30, 0]),
        ({"2026-01": 9, "2026-02": 20}, [9, 20, 31, 0]),
        ({"2026-01": 9, "2026-02": 21}, [9, 21, 30, 0]),
        ({"2025-12": 1}, [9, 20, 30, 0]),
    ],
)
def test_what_a_month_comes_to(closed: Months, months: list[int]) -> None:
    found = [month_micro_usd(month, KNOWN, closed) for month in ("2026-01", "2026-02", "2026-03", "2026-04")]
    assert found == months


@pytest.mark.parametrize("before", [3600, 420, 130], ids=["in March", "into April", "mostly in April"])
async def test_no_metric_of_what_is_certain_falls_and_months_add_up_to_it(before: int) -> None:
    """Every status of a run that ends late, loses a node and crosses a month, as a scrape tells of it."""
    run = await recording(datetime(2026, 4, 1, tzinfo=UTC) - timedelta(seconds=before))
    readings = [reading(run, at, job) for at, job in run.statuses]
    for one, other in pairwise(readings):
        assert {key: value for key, value in one.items() if other.get(key, 0.0) < value and key[0] != COST_NOW} == {}
    months, costs, nows = (
        [round(1e6 * sum(value for key, value in one.items() if key[0] == metric)) for one in readings]
        for metric in (METRIC, "llmtrain_job_cost_usd_total", COST_NOW)
    )
    assert months == costs
    assert any(now > cost for now, cost in zip(nows, costs, strict=True))
    assert any(after < now for now, after in pairwise(nows)), "a correction"
    assert all(now >= cost for now, cost in zip(nows, costs, strict=True))
    assert months[-1] == recorded_micro_usd(run.cluster) > 0


COST_NOW = "llmtrain_job_cost_now_usd"


def reading(run: Recorded, at: datetime, job: dict[str, object]) -> dict[tuple[str, ...], float]:
    """A scrape right after the status was stored."""
    run.cluster.now = at
    registry, snapshots = CollectorRegistry(), Snapshots(run.cluster.clock)
    register_all(registry, snapshots)
    snapshots.take_books(at, {"team-a": Book()}, [])
    snapshots.put(("team-a", "gpt"), JobStatus.model_validate(job.get("status") or {}), "uid")
    names = {METRIC, COST_NOW, *(f"llmtrain_job_{name}_total" for name in COUNTERS)}
    return {
        (s.name, *(f"{label}={value}" for label, value in sorted(s.labels.items()))): s.value
        for family in registry.collect()
        for s in family.samples
        if s.name in names
    }

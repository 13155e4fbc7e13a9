"""Months over random lives: closed ones never change, and with the open ones they are the ledger, whatever was found late."""

import csv
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from llmtrain_operator.client import Object
from llmtrain_operator.closing import Closing, newest_due
from llmtrain_operator.guard import Guard, Loop

from llmtrain.api.status import Stage
from llmtrain.ledger.document import Booking, ClosedPage, DocumentError, Row, config_map
from llmtrain.ledger.focus import charges_csv
from llmtrain.ledger.periodfile import period_csv
from llmtrain.ledger.periods import CLOSED, OPEN, Entry, PeriodError, Periods, closed_pages, pages_of
from tests.unit.operator.booked import HOME, ledgers
from tests.unit.operator.fake_cluster import FakeCluster

SPACE, JOBS, CONFIG_MAPS = "team-a", "apis/llmtrain.dev/v1alpha1/llmtrainingjobs", "api/v1/configmaps"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3_990_000


def text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Life:
    """A pod: from when to when, in whole seconds since the beginning, and which job's."""

    job: str
    start: int
    end: int
    found: int = 0
    """From when the operator knows of it, where that is long after it ended."""

    def cost(self, until: int) -> int:
        """What had accrued by then, by the rule in fractions."""
        return round(Fraction(max(0, min(until, self.end) - self.start) * HOUR, 3600))

    def of_month(self, month: str) -> int:
        begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        end = (begin + timedelta(days=32)).replace(day=1)
        return self.cost(int((end - BEGIN).total_seconds())) - self.cost(int((begin - BEGIN).total_seconds()))

    @property
    def months(self) -> list[str]:
        days = range(self.start // 86400, max(self.start, self.end - 1) // 86400 + 1)
        return sorted({f"{BEGIN + timedelta(days=day):%Y-%m}" for day in days})


@dataclass
class World:
    """Jobs as their statuses and the ledger tell of them at a time, by a book-keeping of its own."""

    lives: list[Life]
    deleted: dict[str, int] = field(default_factory=dict)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    booked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.cluster.now = BEGIN
        self.cluster.add("api/v1/namespaces", {"metadata": {"name": SPACE}})
        self.closing = Closing(self.cluster, HOME, self.cluster.clock, Guard(Loop.UPKEEP))

    async def at(self, second: int) -> None:
        """Everything is as it is at this time."""
        self.cluster.now = BEGIN + timedelta(seconds=second)
        for key in [key for key in self.cluster.objects if key[0] == JOBS]:
            del self.cluster.objects[key]
        for job in sorted({life.job for life in self.lives}):
            own = [life for life in self.lives if life.job == job and life.found == 0 and life.start <= second]
            gone = self.deleted.get(job)
            if gone is not None and gone <= second:
                await self._book("Job", job, job, own, gone)
            elif own:
                self._put(job, own, second)
        for number, life in enumerate(self.lives):
            if life.found and life.found <= second:
                await self._book("Pod", f"pod-{number}", life.job, [life], life.found)

    async def _book(self, kind: Any, uid: str, job: str, lives: list[Life], when: int) -> None:
        if uid in self.booked:
            return
        rows = [self._row(life, month) for life in lives for month in life.months]
        stamp = text(BEGIN + timedelta(seconds=when))
        await ledgers(self.cluster).book(
            SPACE, Booking(kind=kind, uid=uid, job=job, job_uid=job, deleted=stamp, rows=rows)
        )
        self.booked.add(uid)

    def _row(self, life: Life, month: str) -> Row:
        cost = life.of_month(month)
        return Row(stage=Stage.TRAINING, role="worker", plan="gpu", tenure="Rented", month=month, cost_micro_usd=cost,
                   pods=int(month == life.months[-1]))  # fmt: skip

    def _put(self, job: str, lives: list[Life], now: int) -> None:
        over = [self._row(life, month) for life in lives if life.end <= now for month in life.months]
        entries = [row.model_dump(mode="json", by_alias=True, exclude_defaults=True) for row in over]
        marks = [
            {"uid": f"{job}-{number}", "stage": "Training", "role": "worker", "plan": "gpu", "tenure": "Rented", "microUsdPerHour": HOUR,
             "startTime": text(BEGIN + timedelta(seconds=life.start)), "podSeconds": now - life.start, "costMicroUsd": life.cost(now)}
            for number, life in enumerate(lives) if life.end > now
        ]  # fmt: skip
        stages = [{"name": "Training", "state": "Running", "startTime": text(BEGIN)}]
        status = {"stages": stages, "ledger": {"entries": entries, "highWater": marks}}
        self.cluster.add(JOBS, {"metadata": {"name": job, "namespace": SPACE, "uid": job}, "status": status})

    async def close(self) -> None:
        """As an operator that has just started does."""
        self.closing = Closing(self.cluster, HOME, self.cluster.clock, Guard(Loop.UPKEEP))
        jobs = {space for kind, space, _ in self.cluster.objects if kind == JOBS}
        await self.closing.look(jobs)

    def items(self) -> list[dict[str, Any]]:
        kinds = {JOBS: "LLMTrainingJob", CONFIG_MAPS: "ConfigMap"}
        return [{**body, "kind": kinds[kind]} for (kind, _, _), body in self.cluster.objects.items() if kind in kinds]

    def entries(self, month: str) -> list[Entry]:
        return Periods.of(self.items()).entries(month, self.cluster.now)

    def owed(self, second: int) -> int:
        """What the lives that are known of have cost by now."""
        return sum(life.cost(second) for life in self.lives if life.found <= second and life.start <= second)


def months_until(now: datetime) -> list[str]:
    return sorted({f"{BEGIN + timedelta(days=day):%Y-%m}" for day in range((now - BEGIN).days + 1)})


def money(entries: Sequence[Entry]) -> int:
    return sum(entry.line.cost_micro_usd for entry in entries)


def export(entries: Sequence[Entry]) -> str:
    """As finance gets it, in both forms; every row has an id of its own."""
    rows = list(csv.DictReader(io.StringIO(text := period_csv(entries))))
    assert len({row["rowId"] for row in rows}) == len(rows)
    focus = charges_csv(entry.charge for entry in entries)
    assert len({row["x_RowId"] for row in csv.DictReader(io.StringIO(focus))}) == len(rows)
    return text + focus


def some_world(chance: random.Random) -> World:
    lives, deleted = [], {}
    for number in range(chance.randrange(1, 7)):
        job = f"job-{number}"
        begin = chance.randrange(150 * 86400)
        for _ in range(chance.randrange(1, 4)):
            start = begin + chance.randrange(3 * 86400)
            lives.append(
                Life(job, start, start + chance.choice([30, chance.randrange(86400), chance.randrange(70 * 86400)]))
            )
        last = max(life.end for life in lives if life.job == job)
        if chance.random() < 0.7:
            deleted[job] = last + chance.randrange(40 * 86400)
            if chance.random() < 0.6:
                start = begin + chance.randrange(3 * 86400)
                end = start + chance.randrange(1, 86400)
                lives.append(Life(job, start, end, found=max(end, deleted[job]) + chance.randrange(60 * 86400)))
    return World(lives, deleted)


@pytest.mark.parametrize("seed", range(12))
async def test_closed_and_open_months_are_the_ledger_and_closed_ones_stay_as_they_are(seed: int) -> None:
    chance = random.Random(seed)
    world = some_world(chance)
    told: dict[str, str] = {}
    second = 0
    while second < 330 * 86400:
        second += chance.randrange(1, 25 * 86400)
        await world.at(second)
        if chance.random() < 0.7:
            await world.close()
        now = world.cluster.now
        periods = Periods.of(world.items())
        by_month = {month: periods.entries(month, now) for month in months_until(now)}
        assert sum(money(found) for found in by_month.values()) == world.owed(second)
        for month, found in by_month.items():
            states = {entry.state for entry in found}
            assert states in ({OPEN}, {CLOSED}, set())
            if month in told:
                assert export(found) == told[month]
            elif CLOSED in states:
                told[month] = export(found)
                assert month <= newest_due(now)
    assert told


async def test_a_pod_that_is_found_when_its_month_is_closed_corrects_it_in_the_first_open_one() -> None:
    day = 86400
    late = Life("gone", 30 * day, 32 * day, found=64 * day)
    world = World([Life("gone", 0, day), late], {"gone": 33 * day})
    await world.at(63 * day)
    await world.close()
    before = [repr(entry) for entry in world.entries("2026-01")]
    await world.at(65 * day)
    await world.close()
    assert [repr(entry) for entry in world.entries("2026-01")] == before
    found = world.entries("2026-02")
    assert [(entry.state, entry.corrects, entry.line.cost_micro_usd) for entry in found] == [
        (OPEN, "", late.of_month("2026-02")),
        (OPEN, "2026-01", late.of_month("2026-01")),
    ]
    await world.at(100 * day)
    await world.close()
    assert [(entry.state, entry.corrects) for entry in world.entries("2026-02")] == [(CLOSED, ""), (CLOSED, "2026-01")]
    assert world.entries("2026-03") == []


@pytest.mark.parametrize(
    ("day", "due"), [("01-07", "2025-11"), ("01-08", "2025-12"), ("03-01", "2026-01"), ("03-31", "2026-02"), ("12-08", "2026-11")]
)  # fmt: skip
def test_a_month_is_due_a_week_after_its_end(day: str, due: str) -> None:
    assert newest_due(datetime.fromisoformat(f"2026-{day}T00:00:00+00:00")) == due


async def test_a_month_in_which_an_unsettled_pod_ran_stays_open_and_so_do_those_behind_it() -> None:
    day = 86400
    world = World([Life("slow", 20 * day, 75 * day), Life("quick", 5 * day, 6 * day)])
    await world.at(70 * day)
    await world.close()
    assert {entry.state for entry in world.entries("2026-01")} == {OPEN}
    await world.at(76 * day)
    await world.close()
    assert [{entry.state for entry in world.entries(month)} for month in ("2026-01", "2026-02", "2026-03")] == [
        {CLOSED},
        {CLOSED},
        {OPEN},
    ]


async def test_of_two_operators_that_close_at_once_the_pages_of_one_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one writes its first page after this one has read, and before this one writes."""
    day = 86400
    world = World([Life("job", 3600, 7200)])
    await world.at(39 * day)
    create, other = world.cluster.create, pages_of(SPACE, "2026-01", [], "2026-02-09T00:00:00Z")[0]

    async def slower(resource: str, namespace: str, body: Object) -> Object:
        if not [key for key in world.cluster.objects if key[2] == body["metadata"]["name"]]:
            await create(resource, namespace, config_map(other, HOME))
        return await create(resource, namespace, body)

    monkeypatch.setattr(world.cluster, "create", slower)
    await world.close()
    assert closed_pages(world.items()) == [other]
    # What the other did not know of is a correction, and nothing is lost.
    assert [(entry.state, entry.corrects) for entry in world.entries("2026-02")] == [(OPEN, "2026-01")]
    assert money(world.entries("2026-02")) == world.owed(39 * day)


def test_a_closed_month_that_lacks_a_page_is_told_and_one_that_was_never_finished_counts_for_nothing() -> None:
    labels = {f"example.org/{'x' * 200}-{number}": "v" * 63 for number in range(30)}
    rows = [
        {
            "job": f"job-{number}",
            "uid": f"u{number}",
            "stage": "Training",
            "role": "worker",
            "month": "2026-01",
            "labels": labels,
        }
        for number in range(60)
    ]
    parsed = ClosedPage.model_validate_json(
        json.dumps({"namespace": SPACE, "month": "2026-01", "page": 2, "closed": "2026-02-08T00:00:00Z", "rows": rows})
    ).rows
    pages = pages_of(SPACE, "2026-01", parsed, "2026-02-08T00:00:00Z")
    stored = [{**config_map(page, HOME), "kind": "ConfigMap"} for page in pages]
    assert len(stored) > 1
    assert sum(len(page.rows) for page in closed_pages(stored)) == 60
    assert closed_pages(stored[1:]) == []
    with pytest.raises(DocumentError, match="closed month 2026-01 of namespace team-a"):
        closed_pages(stored[:1])


@pytest.mark.parametrize(("month", "why"), [("2026-04", "has not begun"), ("March", "no calendar month")])
def test_a_month_that_cannot_be_told_is_named(month: str, why: str) -> None:
    with pytest.raises(PeriodError, match=why):
        Periods.of([]).entries(month, datetime(2026, 3, 31, 23, 59, tzinfo=UTC))


async def test_no_month_is_closed_behind_one_that_is_gone_and_that_is_counted() -> None:
    day = 86400
    world = World([Life("job", 20 * day, 80 * day)])
    await world.at(81 * day)
    await world.close()
    assert [{entry.state for entry in world.entries(month)} for month in ("2026-01", "2026-02")] == [{CLOSED}, {CLOSED}]
    del world.cluster.objects[(CONFIG_MAPS, HOME, "llmtrain-ledger-closed-team-a-2026-01-1")]
    await world.at(100 * day)
    await world.close()
    assert world.closing.rejections.counts == {"ledger": 1}
    assert not [key for key in world.cluster.objects if key[2] == "llmtrain-ledger-closed-team-a-2026-03-1"]


async def test_what_is_deleted_from_the_ledger_leaves_closed_months_as_they_are_and_is_taken_back_in_the_next() -> None:
    day = 86400
    world = World([Life("job", 20 * day, 21 * day)], {"job": 22 * day})
    await world.at(65 * day)
    await world.close()
    told, whole = [repr(entry) for entry in world.entries("2026-01")], world.owed(65 * day)
    for key in [key for key in world.cluster.objects if key[2].endswith("-2026-01-1") and "closed" not in key[2]]:
        del world.cluster.objects[key]
    assert [repr(entry) for entry in world.entries("2026-01")] == told
    assert [(one.corrects, one.line.cost_micro_usd) for one in world.entries("2026-02")] == [("2026-01", -whole)]

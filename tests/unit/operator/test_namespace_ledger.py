"""The ledger books each job once, however many go at once, however often it is asked to, and whatever others do to it."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.namespace_ledger import Ledgers

from llmtrain.api.status import Stage
from llmtrain.ledger.document import Booking, Row
from tests.unit.operator.booked import HOME, booked_micro_usd, bookings, ledgers, pages
from tests.unit.operator.fake_cluster import FakeCluster

SPACE = "team-a"
CONFIG_MAPS = "api/v1/configmaps"


def booking(uid: str, micro_usd: int, deleted: str = "2026-03-01T12:00:00Z", rows: int = 1, **more: Any) -> Booking:
    row = Row(stage=Stage.TRAINING, role="worker", plan="gpu", tenure="Rented", pods=1, cost_micro_usd=micro_usd)
    return Booking(kind="Job", uid=uid, job="gpt", job_uid=uid, deleted=deleted, rows=[row] * rows, **more)


class Slow(FakeCluster):
    """Every request takes a turn of the loop, so that others come between."""

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        await asyncio.sleep(0)
        return await super().get(resource, namespace, name, not_before)

    async def create(self, resource: str, namespace: str, body: Object) -> Object:
        await asyncio.sleep(0)
        return await super().create(resource, namespace, body)

    async def replace(self, resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        await asyncio.sleep(0)
        return await super().replace(resource, namespace, name, body, subresource)


async def until_booked(mine: Ledgers, one: Booking) -> None:
    """As a job's loop does, which tries again."""
    for _ in range(20):
        try:
            await mine.book(SPACE, one)
        except ApiError as error:
            if error.code != 409:
                raise
        else:
            return
    raise AssertionError("never booked")


async def test_a_hundred_jobs_that_go_at_once_share_their_writes() -> None:
    cluster = Slow()
    mine = ledgers(cluster)
    await asyncio.gather(*(mine.book(SPACE, booking(f"uid-{n}", n)) for n in range(100)))
    assert booked_micro_usd(cluster) == sum(range(100))
    assert cluster.writes <= 3


@pytest.mark.parametrize("largest", [1, 600, 2000, 10**6], ids=["one a page", "few", "some", "all"])
async def test_two_operators_book_each_job_once_whatever_a_page_holds(
    largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmtrain_operator.namespace_ledger.LARGEST_BYTES", largest)
    cluster = Slow()
    both = ledgers(cluster), ledgers(cluster)
    for first in range(0, 40, 8):
        jobs = [(one, n) for one in both for n in range(first, first + 8)]
        await asyncio.gather(*(until_booked(each, booking(f"uid-{n}", n)) for each, n in jobs))
    assert booked_micro_usd(cluster) == sum(range(40))
    uids = [one["uid"] for one in bookings(cluster)]
    assert sorted(uids) == sorted({f"uid-{n}" for n in range(40)})
    found = pages(cluster)
    assert [page["page"] for page in found] == list(range(1, len(found) + 1))
    assert all(page.get("full") for page in found[:-1]), "a page begins once the one before says that it is full"
    third = ledgers(cluster)
    for n in range(40):
        await third.book(SPACE, booking(f"uid-{n}", n))
    assert booked_micro_usd(cluster) == sum(range(40)), "an operator that has just started finds all of them"


async def test_a_page_stays_below_half_a_mebibyte() -> None:
    cluster = FakeCluster()
    mine = ledgers(cluster)
    labels = {f"example.com/{n:03}-{'k' * 50}": "v" * 63 for n in range(32)}
    for n in range(12):
        await mine.book(SPACE, booking(f"uid-{n}", 1, rows=256, labels=labels))
    sizes = [len(body["data"]["ledger.json"].encode()) for body in cluster.of(CONFIG_MAPS)]
    assert max(sizes) < 512 * 1024
    assert 1 < len(sizes) < 12
    assert booked_micro_usd(cluster) == 12 * 256


async def test_a_job_is_booked_in_the_month_in_which_it_was_deleted_and_under_its_namespaces_uid() -> None:
    cluster = FakeCluster()
    mine = ledgers(cluster)
    for uid, deleted in (("a", "2026-02-28T23:59:59Z"), ("b", "2026-03-01T00:00:00Z")):
        await mine.book(SPACE, booking(uid, 1, deleted))
    uid = cluster.objects[("api/v1/namespaces", "", SPACE)]["metadata"]["uid"]
    names = [name for (kind, home, name) in cluster.objects if (kind, home) == (CONFIG_MAPS, HOME)]
    assert names == [f"llmtrain-ledger-{uid}-2026-02-1", f"llmtrain-ledger-{uid}-2026-03-1"]
    assert {page["namespaceUid"] for page in pages(cluster)} == {uid}
    cluster.now += timedelta(days=300)
    await mine.book(SPACE, booking("a", 1, "2026-02-28T23:59:59Z"))
    assert booked_micro_usd(cluster) == 2


async def test_a_job_that_cost_nothing_needs_no_page() -> None:
    cluster = FakeCluster()
    await ledgers(cluster).book(SPACE, booking("a", 1, rows=0))
    assert cluster.of(CONFIG_MAPS) == []


async def test_a_write_that_fails_is_told_to_whom_it_failed_and_the_others_go_on() -> None:
    cluster = Slow()
    failures = iter([ApiError(403, "Forbidden", "quota")])
    cluster.refuse = lambda resource, body: next(failures, None)
    mine = ledgers(cluster)
    told = await asyncio.gather(*(mine.book(SPACE, booking(f"uid-{n}", 1)) for n in range(3)), return_exceptions=True)
    assert [isinstance(each, ApiError) for each in told] == [True, False, False]
    assert booked_micro_usd(cluster) == 2
    await mine.book(SPACE, booking("uid-0", 1))
    assert booked_micro_usd(cluster) == 3


BROKEN = [
    "{not json",
    "[" * 100_000,
    '{"kind": "Month"}',
    '{"formatVersion": 2, "kind": "Month", "namespace": "team-a"}',
    json.dumps({"formatVersion": 1, "kind": "Month", "namespace": SPACE, "namespaceUid": "x", "month": "2026-03",
                "page": 1, "bookings": [{"costMicroUsd": -5}]}),
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=["no json", "deep", "lacks", "newer", "negative"])
async def test_a_page_that_is_none_is_told_left_alone_and_a_new_one_begun(text: str) -> None:
    cluster = FakeCluster()
    mine = ledgers(cluster)
    await mine.book(SPACE, booking("a", 1))
    (first,) = cluster.of(CONFIG_MAPS)
    first["data"]["ledger.json"] = text
    await mine.book(SPACE, booking("b", 2))
    await ledgers(cluster).book(SPACE, booking("c", 4))
    assert first["data"]["ledger.json"] == text
    second = next(body for body in cluster.of(CONFIG_MAPS) if body["metadata"]["name"].endswith("-2"))
    assert [one["uid"] for one in json.loads(second["data"]["ledger.json"])["bookings"]] == ["b", "c"]
    assert mine.rejections.counts == {"ledger": 1}


async def test_what_was_booked_on_a_page_that_broke_is_not_booked_again() -> None:
    cluster = FakeCluster()
    await ledgers(cluster).book(SPACE, booking("a", 1))
    (first,) = cluster.of(CONFIG_MAPS)
    first["data"]["ledger.json"] += "]"
    await ledgers(cluster).book(SPACE, booking("a", 1))
    assert len(cluster.of(CONFIG_MAPS)) == 1


async def test_the_sums_are_those_of_all_months_and_pages_are_read_again_only_when_they_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = FakeCluster()
    mine = ledgers(cluster)
    for month in range(1, 13):
        await mine.book(SPACE, booking(f"m{month}", 1, f"2025-{month:02}-05T00:00:00Z"))
    await mine.book("team-b", booking("other", 7))
    read: list[str] = []
    real = cluster.get

    async def get(resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        read.append(name)
        return await real(resource, namespace, name, not_before)

    monkeypatch.setattr(cluster, "get", get)
    observer: Ledgers = ledgers(cluster)

    async def sums() -> dict[str, int]:
        read.clear()
        found = await observer.books.look({SPACE})
        return {name: sum(total.cost_micro_usd for total in book.totals.values()) for name, book in found.items()}

    assert await sums() == {SPACE: 12, "team-b": 7}
    assert len(read) == 13
    assert await sums() == {SPACE: 12, "team-b": 7}
    assert read == []
    cluster.tick(15)
    await mine.book(SPACE, booking("new", 30))
    assert await sums() == {SPACE: 42, "team-b": 7}
    assert len(read) == 1
    broken = next(body for body in cluster.of(CONFIG_MAPS) if "2025-03" in body["metadata"]["name"])
    broken["data"]["ledger.json"], broken["metadata"]["resourceVersion"] = "", "999999"
    cluster.tick(3600)
    assert await sums() == {SPACE: 42, "team-b": 7}, "a counter does not fall because somebody broke a page"
    assert observer.rejections.counts == {"ledger": 1}


async def test_many_ledgers_at_once_do_not_take_each_others_pages_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of pages is bounded, and thrown away as a whole while others are being written."""
    monkeypatch.setattr("llmtrain_operator.namespace_ledger.KEPT_VOLUMES", 0)
    cluster = Slow()
    mine = ledgers(cluster)
    months = [f"2026-{month:02d}-01T12:00:00Z" for month in range(1, 7)]
    await asyncio.gather(*(mine.book(SPACE, booking(f"uid-{month[5:7]}", 1, month)) for month in months))
    assert booked_micro_usd(cluster) == len(months)

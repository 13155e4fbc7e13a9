"""A namespace's ledger books each job once, however many go at once and however often it is asked to."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.namespace_ledger import JOBS, REMEMBERED, Ledgers, empty
from llmtrain_operator.snapshots import Snapshots

from llmtrain.api.status import JobStatus
from tests.unit.operator.fake_cluster import FakeCluster

SPACE = "team-a"


def entry(micro_usd: int) -> dict[str, Any]:
    amounts = {"pods": 1, "podSeconds": 1, "billedSeconds": 1, "acceleratorSeconds": 0, "costMicroUsd": micro_usd}
    return {"stage": "Training", "role": "worker", "plan": "gpu", "tenure": "Rented"} | amounts


class Slow(FakeCluster):
    """Every request takes a turn of the loop, so that others come between."""

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        await asyncio.sleep(0)
        return await super().get(resource, namespace, name, not_before)

    async def replace(self, resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        await asyncio.sleep(0)
        return await super().replace(resource, namespace, name, body, subresource)


def book_of(cluster: FakeCluster) -> dict[str, Any]:
    body = cluster.objects[("api/v1/configmaps", SPACE, "llmtrain-ledger")]
    book: dict[str, Any] = json.loads(body["data"]["ledger.json"])
    return book


def total(cluster: FakeCluster) -> int:
    return sum(row["costMicroUsd"] for row in book_of(cluster)["totals"])


async def test_a_hundred_jobs_that_go_at_once_share_their_writes() -> None:
    cluster = Slow()
    ledgers = Ledgers(cluster)
    await asyncio.gather(*(ledgers.book(SPACE, f"uid-{n}", [entry(n)]) for n in range(100)))
    assert total(cluster) == sum(range(100))
    assert cluster.writes <= 3


async def test_two_operators_book_each_job_once() -> None:
    cluster = Slow()
    both = Ledgers(cluster), Ledgers(cluster)
    jobs = [(one, n) for one in both for n in range(20)]
    await asyncio.gather(*(ledgers.book(SPACE, f"uid-{n}", [entry(n)]) for ledgers, n in jobs), return_exceptions=True)
    assert total(cluster) == sum(range(20))


async def test_a_write_that_fails_is_told_to_whom_it_failed_and_the_others_go_on() -> None:
    cluster = Slow()
    failures = iter([ApiError(403, "Forbidden", "quota")])
    cluster.refuse = lambda resource, body: next(failures, None)
    ledgers = Ledgers(cluster)
    told = await asyncio.gather(
        *(ledgers.book(SPACE, f"uid-{n}", [entry(1)]) for n in range(3)), return_exceptions=True
    )
    assert [isinstance(each, ApiError) for each in told] == [True, False, False]
    assert total(cluster) == 2
    await ledgers.book(SPACE, "uid-0", [entry(1)])
    assert total(cluster) == 3


@pytest.mark.parametrize("there", [True, False])
async def test_a_uid_is_remembered_as_long_as_its_object_is_there(there: bool) -> None:
    cluster = FakeCluster()
    first = cluster.add(JOBS, {"metadata": {"name": "first", "namespace": SPACE}})["metadata"]["uid"]
    ledgers = Ledgers(cluster)
    await ledgers.book(SPACE, first, [entry(5)])
    if not there:
        del cluster.objects[(JOBS, SPACE, "first")]
    for n in range(2 * REMEMBERED + 10):
        await ledgers.book(SPACE, f"later-{n}", [entry(1)])
    assert (first in book_of(cluster)["settledJobs"]) == there
    assert len(book_of(cluster)["settledJobs"]) <= 2 * REMEMBERED + there
    if there:
        await ledgers.book(SPACE, first, [entry(5)])
        assert total(cluster) == 5 + 2 * REMEMBERED + 10


def test_a_job_that_is_gone_and_forgotten_is_not_counted_beside_its_ledger() -> None:
    cluster = FakeCluster()
    snapshots = Snapshots(cluster.clock)
    snapshots.put((SPACE, "old"), JobStatus(), "uid-old")
    snapshots.books[SPACE] = cluster.now, empty()
    cluster.tick(1)
    snapshots.drop((SPACE, "old"))
    assert len(snapshots.unbooked(SPACE)) == 1, "the ledger was read before the job went"
    snapshots.books[SPACE] = cluster.now + timedelta(seconds=1), empty()
    assert snapshots.unbooked(SPACE) == []

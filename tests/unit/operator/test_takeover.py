"""What earlier operators booked in a namespace itself: carried over once, checked, and out of their reach after a rollback."""

import asyncio
import json
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.metrics import register_all
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.upkeep import Upkeep
from prometheus_client import CollectorRegistry

from tests.unit.operator.booked import HOME, booked_micro_usd, ledgers
from tests.unit.operator.fake_cluster import FakeCluster, clone
from tests.unit.operator.test_namespace_ledger import Slow, booking

CONFIG_MAPS, SPACE = "api/v1/configmaps", "team-a"
CARRIED = (CONFIG_MAPS, HOME, f"llmtrain-ledger-uid-of-{SPACE}-carried-over")
FORMER = (CONFIG_MAPS, SPACE, "llmtrain-ledger")


def total(micro_usd: int, **more: Any) -> dict[str, Any]:
    amounts = {"pods": 1, "podSeconds": 9, "billedSeconds": 9, "acceleratorSeconds": 0, "costMicroUsd": micro_usd}
    return {"stage": "Training", "role": "worker", "plan": "gpu", "tenure": "Rented"} | amounts | more


def leave(cluster: FakeCluster, totals: Any, uids: Any = ()) -> None:
    text = totals if isinstance(totals, str) else json.dumps({"totals": totals, "settledJobs": list(uids)})
    body = {"metadata": {"name": "llmtrain-ledger", "namespace": SPACE}, "data": {"ledger.json": text}}
    cluster.add(CONFIG_MAPS, body)


def carried(cluster: FakeCluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.objects[CARRIED]["data"]["ledger.json"])
    return found


class Earlier:
    """What the operator before this one did with its ledger: parse, add, replace where it is as it was read."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster

    async def book(self, uid: str, micro_usd: int) -> None:
        for _ in range(10):
            found = await self.cluster.get(CONFIG_MAPS, SPACE, "llmtrain-ledger")
            text = ((found or {}).get("data") or {}).get("ledger.json")
            book = json.loads(text) if text else {"totals": [], "settledJobs": []}
            if uid in book["settledJobs"]:
                return
            book = {"totals": [*book["totals"], total(micro_usd)], "settledJobs": [*book["settledJobs"], uid]}
            body = {
                "metadata": {"name": "llmtrain-ledger", "namespace": SPACE},
                "data": {"ledger.json": json.dumps(book)},
            }
            try:
                if found is None:
                    await self.cluster.create(CONFIG_MAPS, SPACE, body)
                else:
                    await self.cluster.replace(CONFIG_MAPS, SPACE, "llmtrain-ledger", found | {"data": body["data"]})
            except ApiError as error:
                if error.code != 409:
                    raise
            else:
                return


async def test_it_is_carried_over_once_and_added_up() -> None:
    cluster = FakeCluster()
    leave(cluster, [total(5), total(7), total(100, role="head")], ["old"])
    mine = ledgers(cluster)
    await mine.book(SPACE, booking("new", 1000))
    assert {row["role"]: row["costMicroUsd"] for row in carried(cluster)["rows"]} == {"worker": 12, "head": 100}
    assert booked_micro_usd(cluster) == 1000
    cluster.objects[FORMER]["data"]["ledger.json"] = json.dumps({"totals": [total(10**9)], "settledJobs": []})
    before = clone(cluster.objects[CARRIED])
    again = ledgers(cluster)
    await again.book(SPACE, booking("newer", 1))
    assert cluster.objects[CARRIED] == before, "once, whatever is written there later"
    assert again.rejections.counts == {"ledger": 1}
    assert "10" in cluster.objects[FORMER]["data"]["before.json"], "it is kept all the same"


async def test_a_namespace_without_one_gets_none() -> None:
    cluster = FakeCluster()
    await ledgers(cluster).book(SPACE, booking("new", 1))
    assert {key for key in cluster.objects if key[0] == CONFIG_MAPS and key[1] == SPACE} == set()
    assert CARRIED not in cluster.objects


@pytest.mark.parametrize("crash", range(1, 4))
async def test_a_crash_in_between_neither_loses_nor_repeats_it(crash: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    leave(cluster, [total(5)])
    real, writes = cluster._write, 0

    def write(change: Any) -> Any:
        nonlocal writes
        writes += 1
        if writes == crash:
            raise ApiError(0, "NoAnswer", "gone")
        return real(change)

    monkeypatch.setattr(cluster, "_write", write)
    for _ in range(2):
        try:
            await ledgers(cluster).book(SPACE, booking("new", 1))
        except ApiError:
            continue
    assert [row["costMicroUsd"] for row in carried(cluster)["rows"]] == [5]
    assert booked_micro_usd(cluster) == 1


async def test_an_earlier_operator_that_comes_back_books_nothing_there_and_a_later_one_goes_on() -> None:
    cluster = FakeCluster()
    leave(cluster, [total(5)])
    await ledgers(cluster).book(SPACE, booking("a", 1))
    with pytest.raises(ValueError, match="Expecting value"):
        await Earlier(cluster).book("b", 2)
    text = cluster.objects[FORMER]["data"]["ledger.json"]
    assert "the operator's namespace" in text
    assert f"`{HOME}`" in text
    await ledgers(cluster).book(SPACE, booking("b", 2))
    assert booked_micro_usd(cluster) == 3


async def test_what_an_earlier_operator_books_where_this_one_never_was_is_carried_over_later() -> None:
    cluster = FakeCluster()
    await ledgers(cluster).book(SPACE, booking("a", 1))
    await Earlier(cluster).book("b", 2)
    later = ledgers(cluster)
    await later.book(SPACE, booking("b", 2, "2026-03-01T11:00:00Z"))
    await later.book(SPACE, booking("c", 4))
    assert [row["costMicroUsd"] for row in carried(cluster)["rows"]] == [2]
    assert booked_micro_usd(cluster) == 5, "b is in what was carried over"


@pytest.mark.parametrize("turns", range(12))
async def test_with_both_at_work_each_job_is_booked_once(turns: int) -> None:
    """The earlier one's first booking begins so many turns of the loop before the later one's."""
    cluster = Slow()
    leave(cluster, [total(1)])
    earlier, later = Earlier(cluster), ledgers(cluster)
    first = asyncio.create_task(earlier.book("j", 10))
    for _ in range(turns):
        await asyncio.sleep(0)
    second = asyncio.create_task(later.book(SPACE, booking("j", 10, "2026-03-01T11:00:00Z")))
    await asyncio.gather(first, second, return_exceptions=True)
    await later.book(SPACE, booking("j", 10, "2026-03-01T11:00:00Z"))
    assert sum(row["costMicroUsd"] for row in carried(cluster)["rows"]) + booked_micro_usd(cluster) == 11


async def test_a_forged_list_of_what_is_booked_frees_no_job_that_is_deleted_later() -> None:
    cluster = FakeCluster()
    leave(cluster, [total(5)], ["mine"])
    mine = ledgers(cluster)
    await mine.carried_over(SPACE)
    await mine.book(SPACE, booking("mine", 1000, "2026-03-01T12:00:01Z"))
    assert booked_micro_usd(cluster) == 1000


FORGED = [
    "{not json",
    "[" * 200_000,
    "[]",
    "7",
    '{"settledJobs": []}',
    [total(-5_000_000_000_000)],
    [total(2**60)],
    [total(2**52), total(2**52)],
    [total(1, podSeconds=1e300)],
    [total(1, role="boss")],
    [total(1, plan="x" * 300)],
    [total(1, tenure='"}\n# TYPE')],
    [total(1, stage="Training\n")],
    [total(True)],
    [{"costMicroUsd": 1}],
    [total(1)] * 5000,
]


@pytest.mark.parametrize("totals", FORGED, ids=range(len(FORGED)))
async def test_what_is_out_of_bounds_is_not_carried_over_and_stops_nobody(totals: Any) -> None:
    cluster = FakeCluster()
    leave(cluster, totals)
    text = cluster.objects[FORMER]["data"]["ledger.json"]
    mine = ledgers(cluster)
    await mine.book(SPACE, booking("a", 1))
    assert carried(cluster).get("rows", []) == []
    assert 0 < len(carried(cluster)["rejected"]) <= 1024
    assert mine.rejections.counts == {"ledger": 1}
    assert booked_micro_usd(cluster) == 1
    assert cluster.objects[FORMER]["data"]["before.json"] == text, "nothing is lost"


async def test_a_right_that_is_missing_in_the_namespace_does_not_hold_up_the_booking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = FakeCluster()
    leave(cluster, [total(5)])
    real = cluster.replace

    async def replace(resource: str, namespace: str, *rest: Any) -> Object:
        if namespace == SPACE:
            raise ApiError(403, "Forbidden", "cannot update configmaps")
        return await real(resource, namespace, *rest)

    monkeypatch.setattr(cluster, "replace", replace)
    mine = ledgers(cluster)
    await mine.book(SPACE, booking("a", 1))
    assert booked_micro_usd(cluster) == 1
    monkeypatch.undo()
    await mine.carried_over(SPACE)
    assert [row["costMicroUsd"] for row in carried(cluster)["rows"]] == [5]


async def test_no_counter_falls_over_the_upgrade_and_what_nobody_verified_is_told() -> None:
    cluster = FakeCluster()
    leave(cluster, [total(5_000_000)])
    cluster.add("apis/llmtrain.dev/v1alpha1/trainingbudgets",
                {"metadata": {"name": "b", "namespace": SPACE}, "spec": {"limitUsd": "5"}})  # fmt: skip
    registry, snapshots = CollectorRegistry(), Snapshots(cluster.clock)
    register_all(registry, snapshots)
    await Upkeep(cluster, cluster.clock, [], snapshots, ledgers(cluster)).look()
    labels = {"namespace": SPACE, "stage": "Training", "role": "worker", "plan": "gpu", "tenure": "Rented"}
    assert registry.get_sample_value("llmtrain_namespace_cost_usd_total", labels) == 5
    assert registry.get_sample_value("llmtrain_namespace_carried_over_usd", {"namespace": SPACE}) == 5


async def test_a_former_ledger_that_no_document_can_hold_is_refused_as_a_whole_and_keeps_no_booking_up() -> None:
    """More rows than anybody will read again: stored all the same, it would be read as nothing."""
    cluster = FakeCluster()
    leave(cluster, [total(1, plan=f"p{number}") for number in range(1025)], ["uid-1"])
    mine = ledgers(cluster)
    found = await mine.carried_over(SPACE)
    assert found is not None
    assert "rows" in found.rejected
    await mine.book(SPACE, booking("uid-2", 7))
    assert booked_micro_usd(cluster) == 7

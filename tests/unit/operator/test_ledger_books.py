"""Which namespaces' ledgers are read and told: the rule, and what it costs at start, at rest and when one comes back."""

from collections.abc import Collection
from datetime import UTC, datetime

import pytest
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.closing import DOCUMENTS as CLOSING
from llmtrain_operator.ledger_books import Books, months_near, told
from llmtrain_operator.metrics import register_all
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.takeover import CONFIG_MAPS
from llmtrain_operator.upkeep import Upkeep
from prometheus_client import CollectorRegistry

from llmtrain.api.status import Stage
from llmtrain.ledger.document import CarriedOver, MonthPage, Row, config_map
from tests.unit.operator.booked import HOME, ledgers
from tests.unit.operator.fake_cluster import FakeCluster, stamp
from tests.unit.operator.test_namespace_ledger import booking

MONTHS = [
    ("in the middle", datetime(2026, 3, 15, tzinfo=UTC), ("2026-02", "2026-03", "2026-04")),
    ("the first moment", datetime(2026, 3, 1, tzinfo=UTC), ("2026-02", "2026-03", "2026-04")),
    ("the last", datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC), ("2025-12", "2026-01", "2026-02")),
    ("over the year", datetime(2025, 12, 31, tzinfo=UTC), ("2025-11", "2025-12", "2026-01")),
]


@pytest.mark.parametrize(("now", "months"), [row[1:] for row in MONTHS], ids=[row[0] for row in MONTHS])
def test_the_months_near(now: datetime, months: tuple[str, str, str]) -> None:
    assert months_near(now) == months


def listed(namespace: str, month: str, created: str = "2026-03-01T00:00:00Z") -> Object:
    labels = {"llmtrain.dev/namespace": namespace, "llmtrain.dev/ledger-month": month}
    return {"metadata": {"name": "any", "labels": labels, "creationTimestamp": created}}


NEAR = ("2026-02", "2026-03", "2026-04")
TOLD = [
    ("booked this month", [listed("a", "2026-03")], [], {"a"}),
    ("last month", [listed("a", "2026-02")], [], {"a"}),
    ("before", [listed("a", "2026-01")], [], set()),
    ("before and this month", [listed("a", "2024-01"), listed("a", "2026-03")], [], {"a"}),
    ("before, with jobs or a budget", [listed("a", "2026-01")], ["a"], {"a"}),
    ("nothing, with jobs or a budget", [], ["a"], {"a"}),
    ("written just now in a month long ago", [listed("a", "2026-01", "2026-03-01T00:00:00Z")], [], set()),
    ("carried over this month", [listed("a", "carried-over")], [], {"a"}),
    ("carried over last month", [listed("a", "carried-over", "2026-02-01T00:00:00Z")], [], {"a"}),
    ("carried over before", [listed("a", "carried-over", "2026-01-31T23:59:59Z")], [], set()),
    ("the apiserver's month began already", [listed("a", "2026-04")], [], {"a"}),
    ("each by itself", [listed("a", "2026-01"), listed("b", "2026-03"), listed("c", "2025-03")], ["c"], {"b", "c"}),
    ("labels that somebody took off", [{"metadata": {"name": "any"}}], [], set()),
]


@pytest.mark.parametrize(("pages", "wanted", "expected"), [row[1:] for row in TOLD], ids=[row[0] for row in TOLD])
def test_who_is_told(pages: list[Object], wanted: Collection[str], expected: set[str]) -> None:
    assert told(pages, wanted, NEAR) == expected


class Counting(FakeCluster):
    """Notes reads of the ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.lists, self.broken = list[str](), list[str](), ""
        self.read_closed = list[str]()

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        if (resource, namespace) == (CONFIG_MAPS, HOME) and not name.endswith("carried-over"):
            (self.read_closed if "-closed-" in name else self.read).append(name)
            if self.broken and self.broken in name:
                raise ApiError(500, "", "not now")
        return await super().get(resource, namespace, name)

    async def list_metadata(self, resource: str, namespace: str, selector: str) -> list[Object]:
        # Months are closed by another look, every quarter of an hour.
        self.lists += [selector] if resource == CONFIG_MAPS and not selector.startswith(CLOSING) else []
        return await super().list_metadata(resource, namespace, selector)


class Ledger:
    """Pages, and an operator that tells them."""

    def __init__(self) -> None:
        self.cluster = Counting()
        self.restart()

    def restart(self) -> None:
        clock = self.cluster.clock
        self.registry, self.snapshots = CollectorRegistry(), Snapshots(clock)
        register_all(self.registry, self.snapshots)
        self.ledgers = ledgers(self.cluster)
        self.upkeep = Upkeep(self.cluster, clock, [], self.snapshots, self.ledgers)

    @property
    def books(self) -> Books:
        return self.ledgers.books

    def page(self, namespace: str, month: str, micro_usd: int, uid: str = "") -> None:
        uid = uid or f"uid-of-{namespace}"
        one = booking(f"{namespace}-{month}", micro_usd, f"{month}-05T00:00:00Z")
        page = MonthPage(namespace=namespace, namespace_uid=uid, month=month, page=1, bookings=[one])
        self.cluster.add(CONFIG_MAPS, config_map(page, HOME))

    def want(self, namespace: str) -> None:
        """A budget, in a namespace that is there."""
        meta = {"name": namespace, "uid": f"uid-of-{namespace}", "resourceVersion": "0"}
        self.cluster.objects[("api/v1/namespaces", "", namespace)] = {"metadata": meta}
        self.cluster.add(BUDGETS, {"metadata": {"name": "b", "namespace": namespace}, "spec": {"limitUsd": "9"}})

    async def look(self, seconds: int = 15) -> dict[str, float]:
        """Microdollars by namespace as they are told; what was asked for is forgotten before."""
        self.cluster.tick(seconds)
        self.cluster.read.clear()
        self.cluster.read_closed.clear()
        self.cluster.lists.clear()
        await self.upkeep.look()
        return self.told()

    def told(self) -> dict[str, float]:
        samples = [s for family in self.registry.collect() for s in family.samples]
        cost = [s for s in samples if s.name == "llmtrain_namespace_cost_usd_total"]
        return {s.labels["namespace"]: round(s.value * 1e6) for s in cost}


async def test_two_hundred_gone_namespaces_are_neither_read_nor_kept_nor_told() -> None:
    mine = Ledger()
    for n in range(200):
        mine.page(f"gone-{n}", "2025-11", 1)
        mine.page(f"gone-{n}", "2026-01", 1)
    mine.page("team-a", "2025-11", 3)
    mine.page("team-a", "2026-02", 4)
    assert await mine.look() == {"team-a": 7}
    assert len(mine.cluster.lists) == 1
    assert len(mine.cluster.read) == 2
    assert len(mine.books._leaves) == 2
    samples = [s for family in mine.registry.collect() for s in family.samples if "_namespace_" in s.name]
    assert len(samples) <= 4
    assert await mine.look() == {"team-a": 7}
    assert (len(mine.cluster.lists), mine.cluster.read) == (1, []), "no more requests at rest"


async def test_months_that_are_closed_are_read_once() -> None:
    """Also one before the last, which is not among those that most looks list."""
    mine = Ledger()
    for month in ("2025-12", "2026-01", "2026-02"):
        mine.page("team-a", month, 1)
    mine.page("gone", "2025-12", 1)
    read = []
    for _ in range(3):
        assert await mine.look() == {"team-a": 3}
        read.append(sorted(mine.cluster.read_closed))
    assert read == [[], ["llmtrain-ledger-closed-team-a-2025-12-1", "llmtrain-ledger-closed-team-a-2026-01-1"], []]


async def test_a_namespace_drops_out_as_a_whole_and_comes_back_with_all_its_pages() -> None:
    mine = Ledger()
    mine.page("team-a", "2026-01", 10)
    mine.page("team-a", "2026-02", 20)
    mine.page("team-a", "2026-02", 5, uid="of-an-earlier-one")
    mine.page("team-b", "2026-03", 7)
    assert await mine.look() == {"team-a": 35, "team-b": 7}
    mine.cluster.now = datetime(2026, 3, 31, 23, 59, 0, tzinfo=UTC)
    assert await mine.look() == {"team-a": 35, "team-b": 7}
    assert await mine.look(60) == {"team-b": 7}, "February is not the month before April"
    assert all("team-b" in name for name in mine.books._leaves)
    assert set(mine.snapshots.books) == {"team-b"}
    mine.page("team-a", "2026-04", 1)
    mine.cluster.broken = "2026-01"
    with pytest.raises(ApiError):
        await mine.look()
    assert mine.told() == {"team-b": 7}, "not before all of it is read"
    mine.cluster.broken = ""
    assert await mine.look() == {"team-a": 36, "team-b": 7}
    assert await mine.look() == {"team-a": 36, "team-b": 7}
    assert (len(mine.cluster.lists), mine.cluster.read) == (1, [])


@pytest.mark.parametrize("namespace", ["team-a", "new"])
async def test_a_budget_brings_a_namespace_back_and_one_without_pages_is_asked_for_once(namespace: str) -> None:
    mine = Ledger()
    mine.page("team-a", "2025-01", 10)
    mine.page("team-a", "2025-02", 20)
    assert [await mine.look(), await mine.look()] == [{}, {}], "after the first, months are closed"
    mine.want(namespace)
    expected = {"team-a": 30} if namespace == "team-a" else {}
    assert await mine.look() == expected
    assert len(mine.cluster.lists) == 2
    assert len(mine.cluster.read) == 2 * (namespace == "team-a")
    assert await mine.look() == expected
    assert (len(mine.cluster.lists), mine.cluster.read) == (1, [])
    await mine.cluster.delete(BUDGETS, namespace, "b", "", None)
    assert await mine.look() == {}
    assert mine.books._leaves == {}


async def test_many_that_come_back_at_once_are_listed_together() -> None:
    mine = Ledger()
    for n in range(60):
        mine.page(f"team-{n}", "2025-01", n + 1)
    assert [await mine.look(), await mine.look()] == [{}, {}]
    for n in range(60):
        mine.want(f"team-{n}")
    assert await mine.look() == {f"team-{n}": n + 1 for n in range(60)}
    assert len(mine.cluster.lists) == 3


@pytest.mark.parametrize("day", [(2026, 3, 31), (2026, 4, 1), (2026, 4, 30), (2026, 5, 1), (2026, 7, 1)])
async def test_an_operator_that_has_just_started_decides_the_same(day: tuple[int, int, int]) -> None:
    mine = Ledger()
    for namespace, month in (("a", "2025-12"), ("b", "2026-02"), ("c", "2026-03"), ("team-b", "2025-01")):
        mine.page(namespace, month, 1)
    carried = CarriedOver(namespace="e", namespace_uid="e", taken_over=stamp(mine.cluster.now),
                          rows=[Row(stage=Stage.TRAINING, role="head", cost_micro_usd=9)])  # fmt: skip
    mine.cluster.add(CONFIG_MAPS, config_map(carried, HOME))
    mine.want("team-b")
    assert await mine.look() == {"b": 1, "c": 1, "e": 9, "team-b": 1}
    mine.cluster.now = datetime(*day, tzinfo=UTC)
    before = await mine.look()
    mine.restart()
    assert await mine.look() == before
    assert before.keys() >= {"team-b"}


async def test_a_page_whose_labels_somebody_took_off_counts_where_its_document_says() -> None:
    mine = Ledger()
    mine.page("team-a", "2026-01", 10)
    mine.page("team-a", "2026-03", 1)
    old = next(body for body in mine.cluster.of(CONFIG_MAPS) if "2026-01" in body["metadata"]["name"])
    del old["metadata"]["labels"]["llmtrain.dev/namespace"]
    assert await mine.look() == {"team-a": 11}
    mine.cluster.now = datetime(2026, 6, 1, tzinfo=UTC)
    assert await mine.look() == {}

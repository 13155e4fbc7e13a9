"""The sums of every namespace's ledger, for the metrics: pages are read again only where they have changed.

A page of a month before the last is hardly ever written, so most looks list the newest months alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from llmtrain.ledger.document import CARRIED, LABEL_KIND, LABEL_MONTH, DocumentError, MonthPage, read_document
from llmtrain_operator.border import Kind, Rejections
from llmtrain_operator.client import Cluster, Object
from llmtrain_operator.figures import LabelSet, Total
from llmtrain_operator.takeover import CONFIG_MAPS

ALL_AGAIN = timedelta(hours=1)
DOCUMENTS = f"{LABEL_KIND} in (Month,CarriedOver)"


@dataclass
class Book:
    """What is booked of one namespace, or stands on one page: amounts by stage, role, plan and tenure, and of whom."""

    totals: dict[LabelSet, Total] = field(default_factory=dict)
    uids: set[str] = field(default_factory=set)
    carried_micro_usd: int = 0
    """Of the amounts, what was taken over and could not be verified."""

    def add(self, other: "Book") -> None:
        """Add what another has."""
        for labels, total in other.totals.items():
            self.totals.setdefault(labels, Total()).add(total)
        self.uids |= other.uids
        self.carried_micro_usd += other.carried_micro_usd


@dataclass(frozen=True)
class Leaf:
    """A document as it was read: resourceVersion, namespace, sums; no sums where it could not be read."""

    version: str
    namespace: str
    book: Book


@dataclass
class Books:
    """All of them. `home` is the operator's namespace."""

    cluster: Cluster
    home: str
    clock: Callable[[], datetime]
    rejections: Rejections
    _leaves: dict[str, Leaf] = field(default_factory=dict)
    _complete: datetime | None = None

    async def look(self) -> Mapping[str, Book]:
        """By namespace, those that are gone among them; one that was made anew under its old name goes on where it stood."""
        now = self.clock()
        whole = self._complete is None or now - self._complete >= ALL_AGAIN
        months = sorted({CARRIED, f"{now:%Y-%m}", f"{now.replace(day=1) - timedelta(days=1):%Y-%m}"})
        newest = f"{DOCUMENTS},{LABEL_MONTH} in ({','.join(months)})"
        listed = await self.cluster.list_metadata(CONFIG_MAPS, self.home, DOCUMENTS if whole else newest)
        there = {raw["metadata"]["name"]: raw["metadata"]["resourceVersion"] for raw in listed}
        if whole:
            self._leaves = {name: leaf for name, leaf in self._leaves.items() if name in there}
        for name, version in there.items():
            if name not in self._leaves or self._leaves[name].version != version:
                await self._read(name)
        self._complete = now if whole else self._complete
        return _by_namespace(self._leaves.values())

    async def _read(self, name: str) -> None:
        raw = await self.cluster.get(CONFIG_MAPS, self.home, name)
        if raw is None:
            self._leaves.pop(name, None)
            return
        self._leaves[name] = self._leaf(raw)

    def _leaf(self, raw: Object) -> Leaf:
        version = raw["metadata"]["resourceVersion"]
        try:
            document = read_document(raw)
        except DocumentError as error:
            self.rejections.note(Kind.LEDGER, f"ConfigMap {self.home}/{raw['metadata']['name']}", str(error))
            last = self._leaves.get(raw["metadata"]["name"], Leaf(version, "", Book()))
            return Leaf(version, last.namespace, last.book)  # a counter does not fall because somebody broke a page
        book = Book()
        if isinstance(document, MonthPage):
            rows = [row for booking in document.bookings for row in booking.rows]
            book.uids |= {booking.uid for booking in document.bookings}
        else:
            rows = document.rows
            book.carried_micro_usd = sum(row.cost_micro_usd for row in rows)
        for row in rows:
            labels = (row.stage.value, row.role, row.plan, row.tenure)
            more = Total(row.pod_seconds, row.accelerator_seconds, row.cost_micro_usd)
            book.totals.setdefault(labels, Total()).add(more)
        return Leaf(version, document.namespace, book)


def _by_namespace(leaves: Iterable[Leaf]) -> dict[str, Book]:
    books: dict[str, Book] = defaultdict(Book)
    for leaf in leaves:
        if leaf.namespace:
            books[leaf.namespace].add(leaf.book)
    return dict(books)

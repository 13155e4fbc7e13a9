"""The sums of namespaces' ledgers, for the metrics: pages are read again only where they have changed.

A page of a month before the last is hardly ever written, so most looks list the newest months alone. A namespace whose
newest page is older than that and that nobody asks for is neither read nor kept: it drops out as a whole, which is a gap
and no fall, and all its pages are read before it is told again. Labels and ages in the lists alone decide that, so an
operator that has just started decides the same.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from llmtrain.ledger.document import (
    CARRIED,
    LABEL_KIND,
    LABEL_MONTH,
    LABEL_NAMESPACE,
    CarriedOver,
    ClosedPage,
    Document,
    DocumentError,
    Row,
    read_document,
)
from llmtrain_operator import monthly
from llmtrain_operator.border import Kind, Rejections
from llmtrain_operator.client import Cluster, Object
from llmtrain_operator.figures import LabelSet, Total
from llmtrain_operator.monthly import ClosedSum, Months
from llmtrain_operator.takeover import CONFIG_MAPS

ALL_AGAIN = timedelta(hours=1)
CLOSED = "Closed"
DOCUMENTS = f"{LABEL_KIND} in (CarriedOver,{CLOSED},Month)"
NAMESPACES_AT_ONCE = 50
"""In the selector of one list."""
Totals = dict[LabelSet, Total]


@dataclass
class Book:
    """What is booked of one namespace, or stands on one page: amounts by stage, role, plan and tenure, and of whom."""

    totals: Totals = field(default_factory=dict)
    uids: set[str] = field(default_factory=set)
    pods: dict[str, Totals] = field(default_factory=dict)
    """By uid, what is booked of pods whose job had gone before them."""
    carried_uids: set[str] = field(default_factory=set)
    """Of whom is in what was taken over, as far as that can be believed."""
    carried_micro_usd: int = 0
    """Of the amounts, what was taken over and could not be verified."""
    months: Months = field(default_factory=dict)
    """The cost by the month in which it accrued, microdollars."""
    pod_months: dict[str, Months] = field(default_factory=dict)
    """By uid, the same of what is in `pods`."""
    closed: list[ClosedSum] = field(default_factory=list)
    """Pages of closed months: they tell again what is booked."""
    lacking: bool = False
    """A document could never be read: what a month comes to is not known."""

    def add(self, other: "Book") -> None:
        """Add what another has."""
        for labels, total in other.totals.items():
            self.totals.setdefault(labels, Total()).add(total)
        self.uids |= other.uids
        self.pods |= other.pods
        self.carried_uids |= other.carried_uids
        self.carried_micro_usd += other.carried_micro_usd
        monthly.add(self.months, other.months.items())
        self.pod_months |= other.pod_months
        self.closed += other.closed
        self.lacking |= other.lacking


@dataclass(frozen=True)
class Leaf:
    """A document as it was read: resourceVersion, namespace, sums; no sums where it could not be read."""

    version: str
    labelled: str
    """The namespace by its label."""
    namespace: str
    book: Book


@dataclass
class Books:
    """Those of namespaces that are told. `home` is the operator's namespace."""

    cluster: Cluster
    home: str
    clock: Callable[[], datetime]
    rejections: Rejections
    _leaves: dict[str, Leaf] = field(default_factory=dict)
    _complete: datetime | None = None
    _known: set[str] = field(default_factory=set)
    """Namespaces all of whose pages have been read."""

    def look_at_all(self) -> None:
        """Next time: a month before the last one has been closed."""
        self._complete = None

    async def look(self, wanted: Collection[str]) -> Mapping[str, Book]:
        """By namespace: those booked of late, gone ones among them, and those `wanted` that have pages.

        One that was made anew under its old name goes on where it stood. ApiError where a page cannot be read.
        """
        now = self.clock()
        near = months_near(now)
        whole = self._complete is None or now - self._complete >= ALL_AGAIN
        newest = f"{DOCUMENTS},{LABEL_MONTH} in ({','.join([*near, CARRIED])})"
        listed = await self.cluster.list_metadata(CONFIG_MAPS, self.home, DOCUMENTS if whole else newest)
        spaces = told(listed, wanted, near)
        if not whole:
            listed += await self._pages_of(spaces - self._known)
        kept = {*spaces, ""}  # somebody may have taken the labels off; the document says whose it is
        mine = [raw["metadata"] for raw in listed if _labelled(raw) in kept]
        there = {meta["name"]: meta["resourceVersion"] for meta in mine}
        for name, leaf in list(self._leaves.items()):
            if leaf.labelled not in kept or (whole and name not in there):
                del self._leaves[name]
        self._known &= spaces
        for name, version in there.items():
            if name not in self._leaves or self._leaves[name].version != version:
                await self._read(name)
        self._complete, self._known = now if whole else self._complete, spaces
        return {space: book for space, book in _by_namespace(self._leaves.values()).items() if space in spaces}

    async def _pages_of(self, namespaces: Collection[str]) -> list[Object]:
        """The metadata of all their documents, however old."""
        found, names = list[Object](), sorted(namespaces)
        for first in range(0, len(names), NAMESPACES_AT_ONCE):
            some = ",".join(names[first : first + NAMESPACES_AT_ONCE])
            selector = f"{DOCUMENTS},{LABEL_NAMESPACE} in ({some})"
            found += await self.cluster.list_metadata(CONFIG_MAPS, self.home, selector)
        return found

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
            labelled = _labelled(raw)
            unknown = Leaf(version, labelled, labelled, Book(lacking=True))
            # A counter does not fall because somebody broke a page.
            last = self._leaves.get(raw["metadata"]["name"], unknown)
            return Leaf(version, labelled, last.namespace, last.book)
        return Leaf(version, _labelled(raw), document.namespace, book_of(document))


def book_of(document: Document) -> Book:
    """What one document has."""
    if isinstance(document, ClosedPage):
        return Book(closed=[ClosedSum.of(document)])
    if isinstance(document, CarriedOver):
        cost = sum(row.cost_micro_usd for row in document.rows)
        months = monthly.months_of_rows(document.rows, document.taken_over[:7])
        return Book(_sums(document.rows), carried_uids=set(document.booked_uids), carried_micro_usd=cost, months=months)
    rows = [row for booking in document.bookings for row in booking.rows]
    pods = [one for one in document.bookings if one.kind == "Pod"]
    return Book(
        _sums(rows),
        uids={booking.uid for booking in document.bookings},
        pods={one.uid: _sums(one.rows) for one in pods},
        months=monthly.months_of_rows(rows, document.month),
        pod_months={one.uid: monthly.months_of_rows(one.rows, document.month) for one in pods},
    )


def months_near(now: datetime) -> tuple[str, str, str]:
    """Last month, this one, and the next: the apiserver's clock may be ahead of this one."""
    first = now.replace(day=1)
    return f"{first - timedelta(days=1):%Y-%m}", f"{now:%Y-%m}", f"{first + timedelta(days=32):%Y-%m}"


def told(listed: Iterable[Object], wanted: Iterable[str], near: Collection[str]) -> set[str]:
    """Namespaces that are told: those `wanted`, and those that have something booked in one of the months `near`."""
    return {*wanted, *(_labelled(raw) for raw in listed if _kind(raw) != CLOSED and _month(raw) in near)} - {""}


def _kind(raw: Object) -> str:
    return str((raw["metadata"].get("labels") or {}).get(LABEL_KIND, ""))


def _month(raw: Object) -> str:
    """Of a document; what was carried over has none, and its age stands for it."""
    meta = raw["metadata"]
    month = (meta.get("labels") or {}).get(LABEL_MONTH, "")
    return str((meta.get("creationTimestamp") or "")[:7] if month == CARRIED else month)


def _labelled(raw: Object) -> str:
    return str((raw["metadata"].get("labels") or {}).get(LABEL_NAMESPACE, ""))


def _sums(rows: Iterable[Row]) -> Totals:
    sums: Totals = {}
    for row in rows:
        labels = (row.stage.value, row.role, row.plan, row.tenure)
        more = Total(row.pod_seconds, row.accelerator_seconds, row.cost_micro_usd)
        sums.setdefault(labels, Total()).add(more)
    return sums


def _by_namespace(leaves: Iterable[Leaf]) -> dict[str, Book]:
    books: dict[str, Book] = defaultdict(Book)
    for leaf in leaves:
        if leaf.namespace:
            books[leaf.namespace].add(leaf.book)
    return dict(books)

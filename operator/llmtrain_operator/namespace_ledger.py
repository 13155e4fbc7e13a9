"""What a namespace has spent, kept beyond its jobs, where its tenants cannot write: see llmtrain/ledger/document.py.

A job is booked in the month in which it was deleted. That time never changes (a pod's moves back, by its grace), and pages of a month are added to one after the
other: so a look at them says whether it is booked, after any crash and with two operators at work.
"""

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from llmtrain.ledger.document import (
    FORMAT,
    KEY,
    LARGEST_BYTES,
    Booking,
    CarriedOver,
    DocumentError,
    MonthPage,
    config_map,
    labels_of,
    name_of,
    page_name,
    read_document,
    stored_text,
    text_of,
)
from llmtrain_operator.border import Kind, Rejections
from llmtrain_operator.client import ApiError, Cluster, Object
from llmtrain_operator.clocks import parse_time
from llmtrain_operator.ledger_books import Books
from llmtrain_operator.recent import Recent
from llmtrain_operator.takeover import CONFIG_MAPS, Takeovers

log = logging.getLogger("llmtrain.operator")
NAMESPACES = "api/v1/namespaces"
TRIES = 10
QUOTED = re.compile(r'"([^"\\]{1,64})"')
KEPT_VOLUMES = 1000
LONGEST_GRACE = timedelta(days=1)
"""A pod that is booked has its own grace at most."""


class Shelf(NamedTuple):
    """Where a booking belongs."""

    uid: str
    """Of the namespace."""
    namespace: str
    month: str


@dataclass
class Volume:
    """The pages of one shelf that nothing is added to any more."""

    page: int = 1
    """The first that is not among them."""
    uids: set[str] = field(default_factory=set)


@dataclass
class Ledgers:
    """Books jobs. Those that are deleted at once share a write instead of fighting over the one page."""

    cluster: Cluster
    recent: Recent
    home: str
    clock: Callable[[], datetime]
    rejections: Rejections = field(default_factory=Rejections)
    unbooked: int = 0
    """Jobs that were let go though they could not be booked."""
    takeovers: Takeovers = field(init=False)
    books: Books = field(init=False)
    """The sums, for the metrics."""
    _volumes: dict[Shelf, Volume] = field(default_factory=dict)
    _waiting: dict[Shelf, dict[str, Booking]] = field(default_factory=lambda: defaultdict(dict))
    _writing: dict[Shelf, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    def __post_init__(self) -> None:
        """Who reads and writes the same documents."""
        self.takeovers = Takeovers(self.cluster, self.home, self.clock, self.rejections)
        self.books = Books(self.cluster, self.home, self.clock, self.rejections)

    async def namespace(self, name: str) -> Object:
        """The namespace; it is there as long as anything in it, also while it is being deleted. ApiError 404 otherwise."""
        found = await self.recent.get(NAMESPACES, "", name)
        if found is None:
            raise ApiError(404, "NotFound", f"namespace {name} is not there")
        return found

    async def carried_over(self, namespace: str) -> CarriedOver | None:
        """What earlier operators had booked in the namespace itself, taken over if it was not before."""
        return await self.takeovers.of(namespace, (await self.namespace(namespace))["metadata"]["uid"])

    async def book(self, namespace: str, booking: Booking) -> None:
        """Book once under a uid; it is in the ledger when this returns. ApiError where that is refused."""
        if not booking.rows:
            return
        if await self._carried_with(namespace, booking):
            return
        uid = (await self.namespace(namespace))["metadata"]["uid"]
        shelf = Shelf(uid, namespace, booking.deleted[:7])
        if booking.kind == "Pod" and await self._is_in_the_next(shelf, booking):
            return
        waiting = self._waiting[shelf]
        waiting[booking.uid] = booking
        try:
            async with self._writing[shelf]:
                if booking.uid in waiting:
                    batch = dict(waiting)
                    await self._write_all(shelf, batch)
                    for written in batch:
                        waiting.pop(written, None)
        finally:
            waiting.pop(booking.uid, None)

    async def _is_in_the_next(self, shelf: Shelf, booking: Booking) -> bool:
        """Whether a pod is booked in the month after: until its kubelet is done, it says when its grace would be over."""
        deleted = parse_time(booking.deleted)
        month = f"{deleted + LONGEST_GRACE:%Y-%m}" if deleted else shelf.month
        if month == shelf.month:
            return False
        _, page, uids = await self._open(shelf._replace(month=month))
        return booking.uid in uids | {one.uid for one in page.bookings}

    async def _carried_with(self, namespace: str, booking: Booking) -> bool:
        """Whether an earlier operator booked it and got no further.

        The list of these could have been edited: a job that was deleted later cannot be on it. Where taking over is not
        allowed, what is to be booked does not wait for it.
        """
        try:
            carried = await self.carried_over(namespace)
        except ApiError as error:
            if error.code not in (400, 403, 422):
                raise
            log.warning("namespace %s: what was booked in it is not carried over: %s", namespace, error)
            return False
        return carried is not None and booking.uid in carried.booked_uids and booking.deleted <= carried.taken_over

    async def _write_all(self, shelf: Shelf, batch: Mapping[str, Booking]) -> None:
        """Conditional writes, read and tried again where somebody was faster."""
        conflicts = 0
        while conflicts < TRIES:
            found, page, uids = await self._open(shelf)
            booked = uids | {one.uid for one in page.bookings}
            missing = [one for uid, one in batch.items() if uid not in booked]
            if not missing:
                return
            fitting = fits(page, missing)
            # Only once the page says that it is full may the next one begin; until then whoever adds to it finds out.
            change: dict[str, object] = {"bookings": [*page.bookings, *fitting]} if fitting else {"full": True}
            try:
                await self._write(found, page.model_copy(update=change | {"format_version": FORMAT}))
            except ApiError as error:
                if error.code not in (404, 409):
                    raise
                conflicts += 1
                continue
            if len(fitting) == len(missing):
                return
            conflicts = 0
        raise ApiError(409, "Conflict", f"the ledger of namespace {shelf.namespace} kept changing")

    async def _open(self, shelf: Shelf) -> tuple[Object | None, MonthPage, set[str]]:
        """The page that is added to, None where it is yet to be made; behind those that are full or cannot be read, and whose uids."""
        if len(self._volumes) > KEPT_VOLUMES:
            self._volumes.clear()
        volume = self._volumes.setdefault(shelf, Volume())
        while True:
            name = page_name(shelf.uid, shelf.month, volume.page)
            found = await self.cluster.get(CONFIG_MAPS, self.home, name)
            if found is None:
                new = MonthPage(namespace=shelf.namespace, namespace_uid=shelf.uid, month=shelf.month, page=volume.page)
                return None, new, volume.uids
            page = self._read(found)
            if page is not None and not page.full:
                return found, page, volume.uids
            volume.uids |= {one.uid for one in page.bookings} if page else quoted(stored_text(found))
            volume.page += 1

    def _read(self, found: Object) -> MonthPage | None:
        """The page; None, told and never written again, where it is none any more."""
        try:
            document = read_document(found)
        except DocumentError as error:
            self.rejections.note(Kind.LEDGER, f"ConfigMap {self.home}/{found['metadata']['name']}", str(error))
            return None
        return document if isinstance(document, MonthPage) else None

    async def _write(self, found: Object | None, page: MonthPage) -> None:
        if found is None:
            await self.cluster.create(CONFIG_MAPS, self.home, config_map(page, self.home))
            return
        labels = (found["metadata"].get("labels") or {}) | labels_of(page)
        body = {**found, "metadata": found["metadata"] | {"labels": labels}, "data": {KEY: text_of(page)}}
        await self.cluster.replace(CONFIG_MAPS, self.home, name_of(page), body)


def fits(page: MonthPage, more: Iterable[Booking]) -> list[Booking]:
    """What the page has room for, in this order; one that is empty has room for any."""
    size, room = len(text_of(page)), list[Booking]()
    for booking in more:
        size += len(booking.model_dump_json(by_alias=True, exclude_defaults=True)) + 1
        if size > LARGEST_BYTES and (page.bookings or room):
            break
        room.append(booking)
    return room


def quoted(text: str) -> set[str]:
    """Every short string of a page that cannot be read: if a uid is among them, it was booked there."""
    return set(QUOTED.findall(text))

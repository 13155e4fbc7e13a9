"""Months are closed: once one is over for a week, and no pod that ran in it is unsettled, its rows are written down for good.

See llmtrain/ledger/periods.py for what is in them, and for what becomes of anything that is found later.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from llmtrain.api import API_VERSION
from llmtrain.cost.periods import CLOSED_AFTER, month_bounds, month_of
from llmtrain.ledger.document import LABEL_KIND, LABEL_NAMESPACE, ClosedPage, DocumentError, config_map
from llmtrain.ledger.periods import Periods, may_close, pages_of, row_of
from llmtrain.ledger.skus import COMPUTE_PLAN, Sku, skus_of, with_skus
from llmtrain_operator.billing import format_time
from llmtrain_operator.border import Kind, Rejections
from llmtrain_operator.client import ApiError, Cluster, Object
from llmtrain_operator.guard import Guard
from llmtrain_operator.recent import PLANS
from llmtrain_operator.takeover import CONFIG_MAPS

log = logging.getLogger("llmtrain.operator")
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
EVERY = timedelta(minutes=15)
DOCUMENTS = f"{LABEL_KIND} in (Month,CarriedOver,Closed)"


@dataclass
class Closing:
    """For all namespaces that have anything in the ledger, or jobs. `home`: the operator's namespace."""

    cluster: Cluster
    home: str
    clock: Callable[[], datetime]
    guard: Guard
    rejections: Rejections = field(default_factory=Rejections)
    _looked: datetime | None = None
    _through: str = ""
    """The month up to which nothing is left to be closed, wherever anything was."""
    _closed: int = 0
    """Months, so far."""
    _done: dict[str, str] = field(default_factory=dict)
    """The same by namespace."""

    async def look(self, with_jobs: Iterable[str], only: Sequence[str] = ()) -> bool:
        """Close what may be closed; every quarter of an hour. Whether any month was.

        `only`: the namespaces that the operator watches, none for all.

        ApiError where the ledger cannot be listed.
        """
        now = self.clock()
        if self._looked is not None and now - self._looked < EVERY:
            return False
        self._looked, due, before = now, newest_due(now), self._closed
        waiting = {space for space in with_jobs if self._done.get(space, "") < due}
        if self._through >= due and not waiting:
            return False
        listed = await self.cluster.list_metadata(CONFIG_MAPS, self.home, DOCUMENTS)
        spaces = {(raw["metadata"].get("labels") or {}).get(LABEL_NAMESPACE, "") for raw in listed} | waiting
        open_ones = {one for one in spaces - {""} if self._done.get(one, "") < due and (not only or one in only)}
        for space in sorted(open_ones):
            with self.guard.each(f"closing months of namespace {space}"):
                if await self._close(space, due, now):
                    self._done[space] = due
        if all(self._done.get(space, "") >= due for space in open_ones):
            self._through = due
        return self._closed > before

    async def _close(self, space: str, due: str, now: datetime) -> bool:
        """Whether nothing of the month, or of one before it, is left to be closed."""
        items = await self._read(space)
        try:
            # Megabytes of a large namespace: the loop goes on meanwhile.
            periods = await asyncio.to_thread(Periods.of, items)
            for month in periods.to_close(space, _jobs(items), now):
                written = await self._write(periods, space, month, now)
                if not written:
                    return False
                periods = replace(periods, closed=[*periods.closed, *written])
        except DocumentError as error:
            # No month is closed on what is known in part.
            self.rejections.note(Kind.LEDGER, f"namespace {space}, whose months are not closed", str(error))
            return False
        return may_close(_jobs(items), due, now)

    async def _read(self, space: str) -> list[Object]:
        """Its jobs and documents."""
        jobs = (await self.cluster.find(JOBS, space, "")).items
        found = await self.cluster.find(CONFIG_MAPS, self.home, f"{DOCUMENTS},{LABEL_NAMESPACE}={space}")
        kinds = (("LLMTrainingJob", jobs), ("ConfigMap", found.items))
        return [{**raw, "kind": kind} for kind, raws in kinds for raw in raws]

    async def _write(self, periods: Periods, space: str, month: str, now: datetime) -> list[ClosedPage]:
        """The pages, the first of them last; none where another operator was faster."""
        skus = await self._skus()
        pages = await asyncio.to_thread(_pages, periods, space, month, now, skus)
        for page in reversed(pages):
            if not await self._create(page) and page.page == 1:
                return []
        self._closed += 1
        log.info("month %s of namespace %s is closed: %d rows", month, space, sum(len(page.rows) for page in pages))
        return pages

    async def _skus(self) -> dict[str, Sku]:
        """How plans are rented, as far as that can be known: no month stays open for it."""
        try:
            plans = (await self.cluster.find(PLANS, "", "")).items
        except ApiError as error:
            log.warning("plans, while a month is closed: %s", error)
            return {}
        return skus_of([{**raw, "kind": COMPUTE_PLAN} for raw in plans])[0]

    async def _create(self, page: ClosedPage) -> bool:
        """Whether it was not there yet."""
        try:
            await self.cluster.create(CONFIG_MAPS, self.home, config_map(page, self.home))
        except ApiError as error:
            if error.code != 409:
                raise
            return False
        return True


def _pages(periods: Periods, space: str, month: str, now: datetime, skus: Mapping[str, Sku]) -> list[ClosedPage]:
    lines = [entry.line for entry in periods.entries(month, now) if entry.line.namespace == space]
    rows = [row_of(line) for line in with_skus(lines, skus)]
    return pages_of(space, month, rows, format_time(now), periods.closed)


def _jobs(items: Iterable[Object]) -> list[Object]:
    return [item for item in items if item["kind"] == "LLMTrainingJob"]


def newest_due(now: datetime) -> str:
    """The last month that has been over for long enough."""
    month = month_of(now.replace(day=1) - timedelta(days=1))
    ended = month_bounds(month)[1]
    return month if now >= ended + CLOSED_AFTER else month_of(month_bounds(month)[0] - timedelta(days=1))

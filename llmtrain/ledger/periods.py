"""The ledger by calendar month: what accrued in each, and months that are closed.

A month is closed for each namespace by itself: seven days after its end, once no pod that ran in it is unsettled, and after
the months before it. The operator writes its rows down then (ClosedPage), and they are what anybody is ever told of it. What
is found later, such as a pod that nobody had seen, is a correction in the first month that is still open. So closed months
and open ones add up to the ledger, at any time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from llmtrain.api.status import Split, Stage
from llmtrain.cost.periods import CLOSED_AFTER, month_bounds, month_of
from llmtrain.ledger.document import (
    COUNTS,
    LARGEST_BYTES,
    ClosedPage,
    ClosedRow,
    DocumentError,
    digest_of,
    first_page_name,
)
from llmtrain.ledger.focus import Charge
from llmtrain.ledger.lines import (
    UNVERIFIED,
    Line,
    documents_of,
    lines_of,
    months_of_mark,
    read_time,
    status_of,
)

OPEN, CLOSED = "Open", "Closed"
Key = tuple[str, str, str, str, str, str, str, bool]


class PeriodError(ValueError):
    """A period that nobody can be told of; the message names it and says why."""


@dataclass(frozen=True)
class Entry:
    """A line of a period. `corrects` is the closed month that it corrects, empty where it corrects none."""

    line: Line
    period: str
    state: str
    corrects: str = ""

    @property
    def charge(self) -> Charge:
        """Of the period that it is told in, and, if that corrects another, of when that was."""
        begin, end = month_bounds(self.period)
        line = replace(self.line, state=self.line.state if self.line.state == UNVERIFIED else self.state)
        start = read_time(line.start) or month_bounds(line.month)[0]
        return Charge(line, start, month_bounds(line.month)[1], begin, end, correction=bool(self.corrects))


@dataclass(frozen=True)
class Periods:
    """What the API has of jobs and ledgers, by month. `lines` are those that lie in a month, `closed` the pages of closed ones."""

    lines: Sequence[Line]
    closed: Sequence[ClosedPage]

    @staticmethod
    def of(items: Iterable[Mapping[str, Any]]) -> "Periods":
        """`items`: LLMTrainingJobs and the ledger's ConfigMaps. DocumentError for a ledger that cannot be read."""
        objects = list(items)
        return Periods([line for line in lines_of(objects) if line.month], closed_pages(objects))

    def entries(self, month: str, now: datetime) -> list[Entry]:
        """What a month has, of jobs that are there, that were deleted, and of namespaces that are gone.

        PeriodError for what is no month, or one that has not begun.
        """
        try:
            begin, _ = month_bounds(month)
        except ValueError as error:
            raise PeriodError(str(error)) from error
        if begin > now:
            raise PeriodError(f"{month} has not begun; allowed are months up to {month_of(now)}")
        spaces = sorted({line.namespace for line in self.lines} | {page.namespace for page in self.closed})
        return [entry for space in spaces for entry in _entries(space, *self._own(space), month)]

    def to_close(self, namespace: str, jobs: Iterable[Mapping[str, Any]], now: datetime) -> list[str]:
        """Months of a namespace that may be closed, the earliest first; none where nothing accrued that is not in a closed one.

        Months between, in which nothing accrued, are closed with them, for each is closed after the one before it.
        """
        lines, closed = self._own(namespace)
        last = max((page.month for page in closed), default="")
        found, own = list[str](), list(jobs)
        month = _next(last) if last else min((line.month for line in lines), default=month_of(now))
        while may_close(own, month, now):
            found.append(month)
            month = _next(month)
        late = bool(last) and bool(_corrections(lines, closed, last))
        held = [month for month in found if any(line.month == month for line in lines)]
        end = max([*held, *(found[:1] if late else [])], default="")
        return [month for month in found if month <= end]

    def _own(self, namespace: str) -> tuple[list[Line], list[ClosedPage]]:
        lines = [line for line in self.lines if line.namespace == namespace]
        return lines, [page for page in self.closed if page.namespace == namespace]


def _entries(space: str, lines: Collection[Line], closed: Collection[ClosedPage], month: str) -> list[Entry]:
    """Of one namespace."""
    last = max((page.month for page in closed), default="")
    if month <= last:
        rows = [row for page in closed if page.month == month for row in page.rows]
        return [Entry(_line(space, row), month, CLOSED, row.month if row.month != month else "") for row in rows]
    return _open_entries(lines, closed, month, last)


def _open_entries(lines: Collection[Line], closed: Collection[ClosedPage], month: str, last: str) -> list[Entry]:
    """Of a month that is not closed; the first of these has the corrections of those that are."""
    found = [Entry(_plain(line), month, OPEN) for line in _added_up(lines) if line.month == month]
    if last and month == _next(last):
        found += [Entry(_plain(line), month, OPEN, line.month) for line in _corrections(lines, closed, last)]
    return found


def month_micro_usd(month: str, known: Mapping[str, int], closed: Mapping[str, int]) -> int:
    """What the entries of a month of one namespace add up to, microdollars, where only sums by month are at hand.

    `known`: what its lines have, by the month in which it accrued. `closed`: what the rows of each closed month add up to.
    """
    last = max(closed, default="")
    if month <= last:
        return closed.get(month, 0)
    late = sum(micro for known_of, micro in known.items() if known_of <= last) - sum(closed.values())
    return known.get(month, 0) + (late if last and month == _next(last) else 0)


def _plain(line: Line) -> Line:
    """Without what may still change after the month, and would change its id: when the stage ended, whether all of it is settled,
    and which pods were booked by themselves. It began no earlier than the month, as far as this line goes.
    """
    begin, end = (f"{bound:%Y-%m-%dT%H:%M:%SZ}" for bound in month_bounds(line.month))
    start = max(line.start, begin) if line.start < end else begin
    return replace(line, start=start, end=end, booked="", state=line.state if line.state == UNVERIFIED else "")


def _next(month: str) -> str:
    return month_of(month_bounds(month)[1])


def _added_up(lines: Iterable[Line]) -> list[Line]:
    """One line a key: what is settled and what is not yet are one, and so are pods that were booked after their job."""
    sums: dict[Key, Line] = {}
    for line in lines:
        key = _key(line)
        sums[key] = _sum(sums[key], line, 1) if key in sums else line
    return list(sums.values())


def _corrections(lines: Iterable[Line], closed: Iterable[ClosedPage], last: str) -> list[Line]:
    """What is known by now of closed months less what was told of them, corrections included; nothing where that is nothing."""
    told: dict[Key, Line] = {}
    for page in closed:
        for row in page.rows:
            line = _line(page.namespace, row)
            told[_key(line)] = _sum(told[_key(line)], line, 1) if _key(line) in told else line
    known = {_key(line): line for line in _added_up(line for line in lines if line.month <= last)}
    changes = [_sum(line, told[key], -1) if key in told else line for key, line in known.items()]
    changes += [_sum(_sum(line, line, -1), line, -1) for key, line in told.items() if key not in known]
    return [line for line in changes if any(getattr(line, name) for name in COUNTS)]


def _key(line: Line) -> Key:
    return line.job, line.uid, line.stage, line.role, line.plan, line.tenure, line.month, line.state == UNVERIFIED


def _sum(one: Line, other: Line, sign: int) -> Line:
    counts = {name: getattr(one, name) + sign * getattr(other, name) for name in COUNTS}
    split = {kind: getattr(one.split, kind) + sign * getattr(other.split, kind) for kind in Split.model_fields}
    return replace(one, **counts, split=Split(**split))


def _line(namespace: str, row: ClosedRow) -> Line:
    return Line(
        namespace=namespace,
        job=row.job,
        uid=row.uid,
        stage=row.stage.value,
        role=row.role,
        plan=row.plan,
        tenure=row.tenure,
        state=UNVERIFIED if row.unverified else "",
        **{name: getattr(row, name) for name in COUNTS},
        start=row.start_time,
        end=f"{month_bounds(row.month)[1]:%Y-%m-%dT%H:%M:%SZ}",
        split=Split.model_validate(row.split),
        month=row.month,
        labels=row.labels,
        commitment=row.commitment,
        accelerator=row.accelerator,
    )


def closed_pages(items: Iterable[Mapping[str, Any]]) -> list[ClosedPage]:
    """Pages of months that are closed; what was written of a month that was never closed counts for nothing.

    DocumentError where one of a closed month is missing, or a month before one that is closed is not as it was then.
    """
    pages = [page for page in documents_of(items) if isinstance(page, ClosedPage)]
    others = {(page.namespace, page.month, digest_of(page)): page for page in pages if page.page > 1}
    found: list[ClosedPage] = []
    firsts = {(page.namespace, page.month): page for page in pages if page.page == 1}
    for first in firsts.values():
        _check_before(first, firsts)
        found.append(first)
        for digest in first.others:
            page = others.get((first.namespace, first.month, digest))
            if page is None:
                where = f"closed month {first.month} of namespace {first.namespace}"
                raise DocumentError(f"{where}: the page with digest {digest} is missing")
            found.append(page)
    return found


def _check_before(page: ClosedPage, firsts: Mapping[tuple[str, str], ClosedPage]) -> None:
    """DocumentError where the month before a closed one is not as it was when this one was closed: told twice otherwise, or never."""
    before = firsts.get((page.namespace, _month_before(page.month)))
    if not page.before or (before is not None and digest_of(before) == page.before):
        return
    what = "has gone" if before is None else "is not as it was"
    name = first_page_name(page.namespace, _month_before(page.month))
    raise DocumentError(
        f"closed month {_month_before(page.month)} of namespace {page.namespace} {what}: put ConfigMap {name} back from a backup"
    )


def _month_before(month: str) -> str:
    return month_of(month_bounds(month)[0] - timedelta(days=1))


def pages_of(
    namespace: str, month: str, rows: Iterable[ClosedRow], closed: str, others: Iterable[ClosedPage] = ()
) -> list[ClosedPage]:
    """A month as it is stored, the first page first. `closed`: when. `others`: pages of months that were closed before."""
    pages: list[list[ClosedRow]] = [[]]
    size = 0
    for row in rows:
        more = len(row.model_dump_json(by_alias=True, exclude_defaults=True)) + 1
        if size + more > LARGEST_BYTES and pages[-1]:
            pages.append([])
            size = 0
        pages[-1].append(row)
        size += more
    behind = [
        ClosedPage(namespace=namespace, month=month, page=number, closed=closed, rows=rows)
        for number, rows in enumerate(pages[1:], start=2)
    ]
    digests = [digest_of(page) for page in behind]
    mine = (namespace, _month_before(month), 1)
    before = next((digest_of(one) for one in others if (one.namespace, one.month, one.page) == mine), "")
    first = ClosedPage(
        namespace=namespace, month=month, page=1, closed=closed, rows=pages[0], others=digests, before=before
    )
    return [first, *behind]


def may_close(jobs: Iterable[Mapping[str, Any]], month: str, now: datetime) -> bool:
    """Whether a month is over for long enough, and no pod of these jobs that ran in it is unsettled."""
    end = month_bounds(month)[1]
    if now < end + CLOSED_AFTER:
        return False
    marks = (mark for job in jobs for mark in status_of(job).ledger.high_water)
    # Where an earlier version began a bill nobody knows when; a pod that no node has taken has none yet.
    return not any(
        part.month <= month
        for mark in marks
        if mark.pod_seconds > 0 or mark.start_time
        for part in months_of_mark(mark)
    )


def row_of(line: Line) -> ClosedRow:
    """As a closed page keeps it."""
    return ClosedRow.model_validate(
        {
            "job": line.job,
            "uid": line.uid,
            "stage": Stage(line.stage),
            "role": line.role,
            "plan": line.plan,
            "tenure": line.tenure,
            "month": line.month,
            "unverified": line.state == UNVERIFIED,
            "start_time": line.start,
            **{name: getattr(line, name) for name in COUNTS},
            "split": {key: value for key, value in line.split.model_dump(by_alias=True).items() if value},
            "labels": dict(line.labels),
            "commitment": line.commitment,
            "accelerator": line.accelerator,
        }
    )

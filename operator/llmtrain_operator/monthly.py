"""Sums of the ledger by calendar month, for the metrics: what each job and each document adds to the months that it lies in.

A scrape adds up few numbers a job and a document. The rule of what a month comes to is that of `llmtrain cost --month`
(llmtrain/ledger/periods.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from llmtrain.api.status import HighWater, JobStatus
from llmtrain.cost.money import amount_micro_usd, billed_seconds
from llmtrain.cost.periods import month_bounds, month_of
from llmtrain.ledger.document import ClosedPage, Row, digest_of
from llmtrain.ledger.lines import months_of_mark, read_time

Months = dict[str, int]
"""Microdollars by calendar month, as `2026-11`."""
Parts = tuple[tuple[str, int], ...]
"""The same, of one pod."""


@dataclass(frozen=True, slots=True)
class ClosedSum:
    """A page of a closed month: what it adds up to, microdollars, and which pages belong to it."""

    month: str
    page: int
    digest: str
    others: tuple[str, ...]
    micro_usd: int

    @staticmethod
    def of(page: ClosedPage) -> "ClosedSum":
        """Of a page as it was read."""
        cost = sum(row.cost_micro_usd for row in page.rows)
        return ClosedSum(page.month, page.page, digest_of(page), tuple(page.others), cost)


def add(months: Months, more: Iterable[tuple[str, int]]) -> None:
    """Add to sums."""
    for month, micro in more:
        months[month] = months.get(month, 0) + micro


def take(months: Months, less: Iterable[tuple[str, int]]) -> None:
    """Take off what is told elsewhere; nothing goes below zero."""
    for month, micro in less:
        months[month] = max(0, months.get(month, 0) - micro)


def parts_of_mark(mark: HighWater, start: str) -> Parts:
    """What a pod alive owes for certain. `start`: of its stage, for a bill that an earlier version began."""
    month, room = _rest_of_month(mark.start_time) if mark.start_time else ("", -1)
    if 0 <= mark.pod_seconds <= room:
        billed = billed_seconds(mark.pod_seconds, mark.increment_seconds, mark.minimum_seconds)
        return ((month, amount_micro_usd(billed, mark.micro_usd_per_hour)),)
    return tuple((part.month or start[:7], part.cost_micro_usd) for part in months_of_mark(mark))


@lru_cache(maxsize=16384)
def _rest_of_month(time: str) -> tuple[str, int]:
    """The month of a time, and the whole seconds that are left of it: most pods are in one month, and each is asked for at every turn.

    No second is left of what is no time.
    """
    begin = read_time(time)
    if begin is None:
        return "", -1
    month = month_of(begin)
    return month, int((month_bounds(month)[1] - begin).total_seconds())


def months_of_status(status: JobStatus, created: str, alive: Iterable[Parts]) -> Months:
    """Of a job that was made at `created`; `alive`: of its pods that are not settled."""
    sums: Months = {}
    starts = stage_starts(status)
    add(
        sums,
        ((one.month or starts.get(one.stage.value, created)[:7], one.cost_micro_usd) for one in status.ledger.entries),
    )
    for parts in alive:
        add(sums, parts)
    return sums


def stage_starts(status: JobStatus) -> dict[str, str]:
    """When its stages began, of those that have."""
    return {stage.name.value: stage.start_time for stage in status.stages if stage.start_time}


def months_of_rows(rows: Iterable[Row], booked: str) -> Months:
    """`booked`: the month for what a version settled that did not say when it had accrued, and when its stage began."""
    sums: Months = {}
    add(sums, ((row.month or row.start_time[:7] or booked, row.cost_micro_usd) for row in rows))
    return sums


def told_by_month(pages: Iterable[ClosedSum]) -> Months | None:
    """What closed months were told to be; what was written of one that was never closed counts for nothing.

    None where a page of a closed month is missing: nobody can say then.
    """
    found = list(pages)
    behind = {(page.month, page.digest): page.micro_usd for page in found if page.page > 1}
    sums: Months = {}
    for first in (page for page in found if page.page == 1):
        others = [behind.get((first.month, digest)) for digest in first.others]
        if None in others:
            return None
        sums[first.month] = first.micro_usd + sum(micro for micro in others if micro is not None)
    return sums

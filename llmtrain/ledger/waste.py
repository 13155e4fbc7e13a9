"""Waste by node, by cause or by job: what settled pods were billed for and was not work.

All three add up to the same. A status, and what is booked of a deleted job, tell their waste by node and by cause since
operators keep that; what they do not tell apart is a row of its own.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from llmtrain.api.status import Split
from llmtrain.ledger.document import Booking, Lost, MonthPage
from llmtrain.ledger.goodput import waste
from llmtrain.ledger.lines import documents_of, status_of


class By(StrEnum):
    """What waste is added up by."""

    NODE = "node"
    CAUSE = "cause"
    JOB = "job"


DELETED, UNRECORDED, REST = "(deleted jobs)", "(not recorded)", "(others)"


@dataclass(frozen=True)
class Wasted:
    """Billed seconds and microdollars of one row."""

    name: str
    billed_seconds: int
    cost_micro_usd: int


def wasted(items: Iterable[Mapping[str, Any]], by: By) -> list[Wasted]:
    """The dearest first, of LLMTrainingJobs and of the ledger's ConfigMaps, as the API has them; other objects are passed over.

    DocumentError for a ledger that cannot be read. What was carried over from where tenants could have edited it has no split.
    """
    objects = list(items)
    jobs = [item for item in objects if item.get("kind") == "LLMTrainingJob"]
    found = [row for job in jobs for row in _of_job(job, by)]
    there = {job["metadata"]["uid"] for job in jobs}
    for document in documents_of(objects):
        found += _of_page(document, there, by) if isinstance(document, MonthPage) else []
    sums: dict[str, tuple[int, int]] = {}
    for row in found:
        before = sums.get(row.name, (0, 0))
        sums[row.name] = before[0] + row.billed_seconds, before[1] + row.cost_micro_usd
    rows = [Wasted(name, *amounts) for name, amounts in sums.items() if any(amounts)]
    return sorted(rows, key=lambda row: (-row.cost_micro_usd, -row.billed_seconds, row.name))


def _of_job(job: Mapping[str, Any], by: By) -> list[Wasted]:
    meta, ledger = job["metadata"], status_of(job).ledger
    whole = Wasted(
        f"{meta['namespace']}/{meta['name']}",
        sum(waste(entry.split) for entry in ledger.entries),
        sum(waste(entry.cost_split) for entry in ledger.entries),
    )
    nodes = {row.node: (row.billed_seconds, row.cost_micro_usd) for row in ledger.waste_by_node}
    causes = {row.cause: (row.billed_seconds, row.cost_micro_usd) for row in ledger.waste_by_cause}
    return _told_apart(whole, nodes if by is By.NODE else causes, by, UNRECORDED)


def _of_page(page: MonthPage, there: Collection[str], by: By) -> list[Wasted]:
    """Jobs that were deleted, less those with these uids; and pods whose jobs had gone before them."""
    mine = [booking for booking in page.bookings if booking.uid not in there]
    return [row for booking in mine for row in _of_booking(page.namespace, booking, by)]


def _of_booking(namespace: str, booking: Booking, by: By) -> list[Wasted]:
    whole = Wasted(
        f"{namespace}/{booking.job}",
        sum(waste(Split.model_validate(row.split)) for row in booking.rows),
        sum(waste(Split.model_validate(row.cost_split)) for row in booking.rows),
    )
    return _told_apart(whole, booking.waste_by_node if by is By.NODE else booking.waste_by_cause, by, DELETED)


def _told_apart(whole: Wasted, parts: Mapping[str, Lost], by: By, rest: str) -> list[Wasted]:
    """The whole of one job, or its parts by name; `rest`: the name of what they lack of it."""
    if by is By.JOB:
        return [whole]
    known = sum(seconds for seconds, _ in parts.values()), sum(micro for _, micro in parts.values())
    told = [Wasted(name or REST, *amounts) for name, amounts in parts.items()]
    return [*told, Wasted(rest, whole.billed_seconds - known[0], whole.cost_micro_usd - known[1])]

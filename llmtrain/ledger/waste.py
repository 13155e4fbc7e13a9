"""Waste by node, by cause or by job: what settled pods were billed for and was not work.

All three add up to the same. A status tells its job's waste by node and by cause since operators keep that; what it does not
tell apart is a row of its own, as are jobs that are deleted, of which the ledger keeps the sum alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from llmtrain.api.status import Split
from llmtrain.ledger.document import MonthPage
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
    seconds = sum(waste(entry.split) for entry in ledger.entries)
    micro = sum(waste(entry.cost_split) for entry in ledger.entries)
    if by is By.JOB:
        return [Wasted(f"{meta['namespace']}/{meta['name']}", seconds, micro)]
    if by is By.NODE:
        told = [Wasted(row.node or REST, row.billed_seconds, row.cost_micro_usd) for row in ledger.waste_by_node]
    else:
        told = [Wasted(row.cause or REST, row.billed_seconds, row.cost_micro_usd) for row in ledger.waste_by_cause]
    known = sum(row.billed_seconds for row in told), sum(row.cost_micro_usd for row in told)
    return [*told, Wasted(UNRECORDED, seconds - known[0], micro - known[1])]


def _of_page(page: MonthPage, there: Iterable[str], by: By) -> list[Wasted]:
    """Jobs that were deleted, less those with these uids; and pods whose jobs had gone before them."""
    return [
        Wasted(
            f"{page.namespace}/{booking.job}" if by is By.JOB else DELETED,
            waste(Split.model_validate(row.split)),
            waste(Split.model_validate(row.cost_split)),
        )
        for booking in page.bookings
        if booking.uid not in there
        for row in booking.rows
    ]

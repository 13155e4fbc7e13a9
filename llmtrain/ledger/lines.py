"""Lines of the ledger: one a job, stage, role, plan, tenure and month, of jobs that are there and of those that were deleted.

What was carried over from where tenants could have edited it names no job, and has a state of its own: unverified.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from llmtrain.api.status import Amounts, HighWater, JobStatus, LedgerEntry, Split, StageStatus
from llmtrain.cost.periods import Share, Tariff, shares
from llmtrain.ledger.document import (
    AMOUNTS,
    FORMAT_CONFIG_MAP,
    LABEL_KIND,
    Booking,
    CarriedOver,
    Document,
    DocumentError,
    MonthPage,
    Row,
    own_labels,
    read_document,
)
from llmtrain.ledger.former import FORMER_CONFIG_MAP, FORMER_KEY, FormerBook, is_moved
from llmtrain.text import plain

SETTLED, PROVISIONAL, UNVERIFIED = "Settled", "Provisional", "CarriedOver"


@dataclass(frozen=True)
class Line:
    """Amounts in integer seconds and microdollars. `job` is empty for what was carried over; times as in the API.

    `booked` is the uid of the pod that was booked by itself, as its job had gone before it. `labels` are the job's own.
    `commitment` and `accelerator` are of the plan, empty where it is not known.
    """

    namespace: str
    job: str
    uid: str
    stage: str
    role: str
    plan: str
    tenure: str
    state: str
    pods: int
    pod_seconds: int
    billed_seconds: int
    accelerator_seconds: int
    cost_micro_usd: int
    energy_joules: int = 0
    start: str = ""
    end: str = ""
    split: Split = field(default_factory=Split)
    booked: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    commitment: str = ""
    accelerator: str = ""
    month: str = ""
    """In which it accrued, as `2026-11`; empty where nobody knows."""


def lines_of(items: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Lines of LLMTrainingJobs and of the ledger's ConfigMaps, as the API has them; other objects are passed over.

    A job that is still there is counted by its status, though it may be booked already. DocumentError for a ledger that
    cannot be read: no sum is right without it.
    """
    objects = list(items)
    jobs = [item for item in objects if item.get("kind") == "LLMTrainingJob"]
    documents = documents_of(objects)
    there = {job["metadata"]["uid"] for job in jobs}
    carried = {document.namespace for document in documents if isinstance(document, CarriedOver)}
    found = [line for job in jobs for line in job_lines(job)]
    for document in documents:
        if isinstance(document, CarriedOver):
            found += carried_lines(document)
        elif isinstance(document, MonthPage):
            found += booked_lines(document, there)
    for item in objects:
        if _is_former(item) and item["metadata"]["namespace"] not in carried:
            found += former_lines(item)
    return sorted(
        found, key=lambda line: (line.namespace, line.job, line.month, line.start, line.stage, line.role, line.state)
    )


def documents_of(items: Iterable[Mapping[str, Any]]) -> list[Document]:
    """The ledger's documents among what the API has. DocumentError for one that cannot be read."""
    return [_document(item) for item in items if _is_document(item)]


def _is_document(item: Mapping[str, Any]) -> bool:
    labels = item["metadata"].get("labels") or {} if item.get("kind") == "ConfigMap" else {}
    return LABEL_KIND in labels and item["metadata"]["name"] != FORMAT_CONFIG_MAP


def _document(item: Mapping[str, Any]) -> Document:
    try:
        return read_document(item)
    except DocumentError as error:
        raise DocumentError(f"ConfigMap {item['metadata']['namespace']}/{item['metadata']['name']} {error}") from error


def _is_former(item: Mapping[str, Any]) -> bool:
    is_config_map = item.get("kind") == "ConfigMap" and item["metadata"]["name"] == FORMER_CONFIG_MAP
    return is_config_map and not is_moved(item)


def status_of(job: Mapping[str, Any]) -> JobStatus:
    """What a job's status tells. DocumentError, which names the field, where it cannot be read."""
    try:
        return JobStatus.model_validate(job.get("status") or {})
    except ValidationError as error:
        fault, meta = error.errors(include_input=False, include_url=False)[0], job["metadata"]
        field = ".".join(map(str, ("status", *fault["loc"])))
        raise DocumentError(f"LLMTrainingJob {meta['namespace']}/{meta['name']}: `{field}`: {fault['msg']}") from error


def job_lines(job: Mapping[str, Any]) -> list[Line]:
    """Lines of one job; its pods that live still are provisional ones."""
    status = status_of(job)
    stages = {stage.name: stage for stage in status.stages}
    items = [*((entry.month, entry) for entry in status.ledger.entries), *_provisional(status.ledger.high_water)]
    return [_line(job["metadata"], item, stages.get(item.stage), month) for month, item in items]


def _provisional(marks: Iterable[HighWater]) -> list[tuple[str, Amounts]]:
    """What pods alive owe for certain, by month; pods of one label set added up."""
    sums: dict[tuple[str, str, str, str, str], Amounts] = {}
    for mark in marks:
        for part in months_of_mark(mark):
            key = (part.month, mark.stage.value, mark.role, mark.plan, mark.tenure)
            total = sums.setdefault(key, Amounts(stage=mark.stage, role=mark.role, plan=mark.plan, tenure=mark.tenure))
            for name in AMOUNTS:
                setattr(total, name, getattr(total, name) + getattr(part, name))
    return [(key[0], total) for key, total in sums.items()]


def months_of_mark(mark: HighWater) -> list[Share]:
    """What a pod alive owes for certain, by month; in no month where an earlier version began its bill and none has looked since."""
    start = None if mark.start_time is None else read_time(mark.start_time)
    if start is None:
        return [Share("", *(getattr(mark, name) for name in AMOUNTS))]
    rule = (mark.micro_usd_per_hour, mark.increment_seconds, mark.minimum_seconds, mark.accelerators)
    return shares(start, mark.pod_seconds, Tariff(*rule))


def read_time(text: str) -> datetime | None:
    """A time of the API; None for what is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _line(metadata: Mapping[str, Any], item: Amounts, stage: StageStatus | None, month: str) -> Line:
    """`stage`: None where the manifest has it no more; its bill stays."""
    settled = item if isinstance(item, LedgerEntry) else None
    start = (stage.start_time if stage else None) or str(metadata.get("creationTimestamp") or "")
    return Line(
        namespace=metadata["namespace"],
        job=metadata["name"],
        uid=metadata["uid"],
        stage=item.stage.value,
        role=item.role,
        plan=item.plan,
        tenure=item.tenure,
        state=SETTLED if settled else PROVISIONAL,
        pods=settled.pods if settled else 0,
        **{name: getattr(item, name) for name in AMOUNTS},
        energy_joules=settled.energy_joules if settled else 0,
        start=start,
        end=(stage.completion_time if stage else None) or "",
        split=settled.split if settled else Split(),
        labels=own_labels(metadata.get("labels") or {}),
        month=month or start[:7],
    )


def booked_lines(page: MonthPage, there: Collection[str]) -> list[Line]:
    """Lines of jobs that were deleted, less those with these uids; and of pods whose jobs had gone before them."""
    return [
        _booked_line(page, booking, row)
        for booking in page.bookings
        if booking.uid not in there
        for row in booking.rows
    ]


def _booked_line(page: MonthPage, booking: Booking, row: Row) -> Line:
    line = _row_line(page.namespace, booking.job, booking.job_uid, SETTLED, row, page.month)
    return replace(line, booked=booking.uid if booking.kind == "Pod" else "", labels=booking.labels)


def carried_lines(document: CarriedOver) -> list[Line]:
    """Lines of what earlier operators had booked in the namespace itself."""
    return [_row_line(document.namespace, "", "", UNVERIFIED, row, document.taken_over[:7]) for row in document.rows]


def former_lines(config_map: Mapping[str, Any]) -> list[Line]:
    """Lines of a ledger that is still in its namespace, as nothing there has needed it since; none where it cannot be read."""
    book = _former_book(config_map)
    rows = book.totals if isinstance(book, FormerBook) else []
    return [_row_line(config_map["metadata"]["namespace"], "", "", UNVERIFIED, row, "") for row in rows]


def former_flaws(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is not in the lines: ledgers that tenants made unreadable in their own namespaces."""
    books = [(item["metadata"], _former_book(item)) for item in items if _is_former(item)]
    return [
        plain(f"ConfigMap {meta['namespace']}/{meta['name']}: {book}") for meta, book in books if isinstance(book, str)
    ]


def _former_book(config_map: Mapping[str, Any]) -> FormerBook | str:
    """The ledger, or why it is none."""
    text = (config_map.get("data") or {}).get(FORMER_KEY)
    try:
        return FormerBook.model_validate_json(text or '{"totals": []}')
    except ValidationError as error:
        return error.errors(include_input=False, include_url=False)[0]["msg"]


def _row_line(namespace: str, job: str, uid: str, state: str, row: Row, otherwise: str) -> Line:
    """`otherwise`: the month of a row that says neither when it accrued nor when its stage began, as a version before wrote them."""
    return Line(
        namespace=namespace,
        job=job,
        uid=uid,
        stage=row.stage.value,
        role=row.role,
        plan=row.plan,
        tenure=row.tenure,
        state=state,
        pods=row.pods,
        **{name: getattr(row, name) for name in AMOUNTS},
        energy_joules=row.energy_joules,
        start=row.start_time,
        end=row.end_time,
        split=Split.model_validate(row.split),
        month=row.month or row.start_time[:7] or otherwise,
    )

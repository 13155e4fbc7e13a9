"""Months of the ledger as `llmtrain ledger export --period` wrote them, read back from files that were kept.

A month of a namespace may be in them once. A month that is there twice, in two files or within one, makes every sum wrong: it
is refused, with both places.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from llmtrain.api import GROUP
from llmtrain.cost.periods import CLOSED_AFTER, month_bounds
from llmtrain.ledger.focus import CORRECTION, NO_PLAN
from llmtrain.ledger.lines import UNVERIFIED, Line
from llmtrain.ledger.periods import CLOSED, Entry

MICRO = 1_000_000
MOST_MICRO_USD = 2**53
"""Nine billion dollars: no row has more."""
OWN = (
    "rowId", "namespace", "job", "stage", "role", "plan", "tenure", "state", "period", "correctsPeriod", "pods", "podSeconds",
    "billedSeconds", "costUsd",
)  # fmt: skip
FOCUS = (
    "x_RowId", "SubAccountId", "ResourceName", "x_Stage", "x_Role", "SkuId", "Tags", "x_State", "BillingPeriodStart", "ChargeClass",
    "ChargePeriodStart", "x_Pods", "ConsumedQuantity", "x_BilledSeconds", "BilledCost",
)  # fmt: skip
JOBS, ADDED_UP = "jobs", "added up"
"""Rows of jobs by themselves, and of jobs added up by a label."""


class ExportError(ValueError):
    """A file that is no export of closed months, or months that overlap; the message names file and line."""


@dataclass(frozen=True)
class Row:
    """A row and where it stands. `of`: JOBS or ADDED_UP; empty where that cannot be told."""

    where: str
    id: str
    entry: Entry
    of: str


def read_exports(files: Iterable[tuple[str, str]], now: datetime) -> list[Entry]:
    """The rows of all files, given as name and text. ExportError where one is no export, a month is not closed, or overlaps."""
    read = [(name, _rows(name, text, now)) for name, text in files]
    _refuse_months_twice(read)
    _refuse_rows_twice(row for _, rows in read for row in rows)
    return [row.entry for _, rows in read for row in rows]


def _refuse_months_twice(read: Iterable[tuple[str, list[Row]]]) -> None:
    """A month of a namespace in two files, or both by jobs and added up in one."""
    there: dict[tuple[str, str], tuple[int, Row]] = {}
    for number, (_, rows) in enumerate(read):
        for row in rows:
            key = (row.entry.line.namespace, row.entry.period)
            file, other = there.setdefault(key, (number, row))
            if file != number or (row.of and other.of and row.of != other.of):
                raise ExportError(
                    f"exports overlap: month {key[1]} of namespace {key[0]} is at {other.where} and again at {row.where}; "
                    "give each month of a namespace once"
                )
            if not other.of:
                there[key] = (number, row)


def _refuse_rows_twice(rows: Iterable[Row]) -> None:
    there: dict[str, Row] = {}
    for row in rows:
        first = there.setdefault(row.id, row)
        if first is not row:
            what = f"month {row.entry.period} of namespace {row.entry.line.namespace}"
            raise ExportError(
                f"exports overlap: {first.where} and {row.where} are one row, {row.id}, of {what}; give each month of a "
                "namespace once"
            )


def _rows(name: str, text: str, now: datetime) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), strict=True)
    try:
        header = list(reader.fieldnames or [])
        columns = FOCUS if FOCUS[0] in header else OWN
        if lacking := [column for column in columns if column not in header]:
            raise ExportError(
                f"{name}: is no export of a month, for it lacks {', '.join(lacking)}; make it by `llmtrain ledger export "
                "--period`"
            )
        return [_row(f"{name} line {reader.line_num}", cells, header, columns is FOCUS, now) for cells in reader]
    except csv.Error as error:
        raise ExportError(f"{name} line {reader.line_num}: is no CSV: {error}") from error


def _row(where: str, cells: Mapping[str, str], header: list[str], focus: bool, now: datetime) -> Row:
    if None in cells or None in cells.values():
        raise ExportError(f"{where}: has other columns than the first line")
    if all(cells[column] == column for column in header):
        raise ExportError(f"{where}: is the first line of another export; give each file by itself")
    row = _of_focus(where, cells) if focus else _of_own(where, cells, header)
    _check_closed(row, cells["x_State" if focus else "state"], now)
    return row


def _of_own(where: str, cells: Mapping[str, str], header: Iterable[str]) -> Row:
    line = Line(
        namespace=cells["namespace"],
        job=cells["job"],
        uid=cells.get("jobUid", ""),
        stage=cells["stage"],
        role=cells["role"],
        plan=cells["plan"],
        tenure=cells["tenure"],
        state="",
        pods=_count(where, cells, "pods"),
        pod_seconds=_count(where, cells, "podSeconds"),
        billed_seconds=_count(where, cells, "billedSeconds"),
        accelerator_seconds=0,
        cost_micro_usd=_micro(where, cells, "costUsd"),
    )
    added_up = any(column.startswith("label:") for column in header)
    entry = Entry(line, cells["period"], CLOSED, cells["correctsPeriod"])
    return Row(where, cells["rowId"], entry, ADDED_UP if added_up else JOBS)


def _of_focus(where: str, cells: Mapping[str, str]) -> Row:
    tags = _tags(where, cells["Tags"])
    line = Line(
        namespace=cells["SubAccountId"],
        job=cells["ResourceName"],
        uid=cells.get("ResourceId", ""),
        stage=cells["x_Stage"],
        role=cells["x_Role"],
        plan="" if cells["SkuId"] == NO_PLAN else cells["SkuId"],
        tenure=tags.get(f"{GROUP}/tenure", ""),
        state=UNVERIFIED if cells["x_State"] == UNVERIFIED else "",
        pods=_count(where, cells, "x_Pods"),
        pod_seconds=_count(where, cells, "ConsumedQuantity"),
        billed_seconds=_count(where, cells, "x_BilledSeconds"),
        accelerator_seconds=0,
        cost_micro_usd=_micro(where, cells, "BilledCost"),
    )
    of = JOBS if cells["ResourceName"] else "" if line.state else ADDED_UP
    corrects = cells["ChargePeriodStart"][:7] if cells["ChargeClass"] == CORRECTION else ""
    return Row(where, cells["x_RowId"], Entry(line, cells["BillingPeriodStart"][:7], CLOSED, corrects), of)


def _tags(where: str, text: str) -> Mapping[str, str]:
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise ExportError(f"{where}: `Tags` must be JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ExportError(f"{where}: `Tags` must be an object of texts")
    return found


def _check_closed(row: Row, state: str, now: datetime) -> None:
    """A row of a month that is closed. What was carried over says so instead; its month has to be over for long enough."""
    month = row.entry.period
    try:
        begin, end = month_bounds(month)
    except ValueError as error:
        raise ExportError(f"{row.where}: {error}") from error
    if begin > now:
        raise ExportError(f"{row.where}: {month} has not begun")
    if state not in (CLOSED, UNVERIFIED) or now < end + CLOSED_AFTER:
        raise ExportError(
            f"{row.where}: month {month} of namespace {row.entry.line.namespace} is not closed, the row says "
            f"{state or 'nothing'}; export it with `--period` once it is"
        )


def _count(where: str, cells: Mapping[str, str], column: str) -> int:
    value = _decimal(where, cells, column)
    if value != value.to_integral_value():
        raise ExportError(f"{where}: `{column}` must be a whole number, not {cells[column]!r}")
    return int(value)


def _micro(where: str, cells: Mapping[str, str], column: str) -> int:
    value = _decimal(where, cells, column) * MICRO
    if value != value.to_integral_value():
        raise ExportError(f"{where}: `{column}` must have six decimals, not {cells[column]!r}")
    return int(value)


def _decimal(where: str, cells: Mapping[str, str], column: str) -> Decimal:
    try:
        value = Decimal(cells[column].strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) > MOST_MICRO_USD:
        raise ExportError(f"{where}: `{column}` must be a decimal number, not {cells[column]!r}")
    return value

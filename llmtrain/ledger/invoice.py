"""An invoice held against the ledger: which lines differ, and by how much.

The invoice is a CSV with an amount and at least one column that says what it is for; our own names and those of FOCUS
are understood. Both sides are added up by the columns that the invoice has, so a bill by plan is compared by plan.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from llmtrain.cost.money import WIDE
from llmtrain.ledger.csvfile import exact_usd
from llmtrain.ledger.lines import Line
from llmtrain.ledger.periods import Entry

AMOUNTS = ("costUsd", "BilledCost", "amountUsd")
KEYS = {
    "namespace": "namespace", "SubAccountName": "namespace", "job": "job", "ResourceName": "job", "stage": "stage",
    "role": "role", "plan": "plan", "SkuId": "plan", "tenure": "tenure",
}  # fmt: skip
MICRO = Decimal(1_000_000)
MOST_USD = Decimal(10**12)
"""Of one line: more is a mistake."""
MONTHS = ("BillingPeriodStart", "period")
"""Columns that say of which month a line is."""
ROW_IDS = ("x_RowId", "rowId")
"""Of our own exports: the same for the same row."""
Key = tuple[tuple[str, str], ...]


class InvoiceError(Exception):
    """The invoice cannot be read; the message names line and column."""


@dataclass(frozen=True)
class Difference:
    """One key on both sides, microdollars; None: the side does not have it."""

    key: Key
    invoiced: int | None
    ledger: int | None

    @property
    def micro_usd(self) -> int:
        """Invoiced less ledger."""
        return (self.invoiced or 0) - (self.ledger or 0)

    @property
    def name(self) -> str:
        """The key for people."""
        return ", ".join(f"{column} {value or '(empty)'}" for column, value in self.key)


def read_invoice(text: str, month: str = "") -> tuple[list[str], dict[Key, int]]:
    """Key columns, in our names, and microdollars by key, rounded half to even once a key.

    InvoiceError for what cannot be read, for a row that is there twice, and, where a `month` is asked for, for a line that says
    that it is of another.
    """
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    try:
        header = list(reader.fieldnames or [])
        lines = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InvoiceError(f"line {reader.line_num + 1}: is no CSV: {error}") from error
    amount, found = _columns(header)
    ids: dict[str, int] = {}
    sums: dict[Key, Decimal] = {}
    for number, row in lines:
        _check_line(number, row, header, ids, month)
        key = tuple((name, (row[column] or "").strip()) for column, name in found.items())
        sums[key] = WIDE.add(sums.get(key, Decimal(0)), _usd(row[amount], number, amount))
    return list(found.values()), {key: _micro(value) for key, value in sums.items()}


def _columns(header: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The column with the amount, and those that say what a line is for, with our names for them."""
    amount = next((name for name in AMOUNTS if name in header), None)
    found = {column: KEYS[column] for column in header if column in KEYS}
    if amount is None:
        raise InvoiceError(f"line 1: no amount column; allowed is one of {', '.join(AMOUNTS)}")
    if not found:
        raise InvoiceError(f"line 1: no column says what a line is for; allowed are {', '.join(KEYS)}")
    if len(set(found.values())) < len(found):
        raise InvoiceError(f"line 1: {', '.join(found)} name the same thing twice; keep one of them")
    return amount, found


def _check_line(
    number: int, row: Mapping[str, str | None], header: Iterable[str], ids: dict[str, int], month: str
) -> None:
    """What files that were put together have, and what another month has. `ids`: lines by the id of their row, so far."""
    if all(row[column] == column for column in header):
        raise InvoiceError(f"line {number}: is the first line again; files that are put together must not repeat it")
    for column in ROW_IDS:
        name = row.get(column) or ""
        if name and ids.setdefault(name, number) != number:
            raise InvoiceError(f"lines {ids[name]} and {number} are one row, `{column}` {name}: exports overlap")
    for column in MONTHS if month else ():
        told = (row.get(column) or "").strip()[: len(month)]
        if told and told != month:
            raise InvoiceError(f"line {number}: is of {told} by `{column}`, and {month} is asked for")


def _usd(text: str | None, line: int, column: str) -> Decimal:
    try:
        value = Decimal((text or "").strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise InvoiceError(f"line {line}: `{column}` must be a decimal number, not {text!r}")
    if abs(value) > MOST_USD:
        raise InvoiceError(f"line {line}: `{column}` must be at most {MOST_USD}, not {text!r}")
    return value


def _micro(usd: Decimal) -> int:
    return int(WIDE.multiply(usd, MICRO).to_integral_value(ROUND_HALF_EVEN, WIDE))


def ledger_sums(lines: Iterable[Line], columns: Iterable[str]) -> dict[Key, int]:
    """Microdollars of the ledger by the same columns."""
    sums: dict[Key, int] = {}
    wanted = list(columns)
    for line in lines:
        key = tuple((column, str(getattr(line, column))) for column in wanted)
        sums[key] = sums.get(key, 0) + line.cost_micro_usd
    return sums


def differences(invoiced: Mapping[Key, int], ledger: Mapping[Key, int], tolerance: int) -> list[Difference]:
    """Keys whose sides differ by more than `tolerance` microdollars, the largest difference first."""
    both = [Difference(key, invoiced.get(key), ledger.get(key)) for key in {**invoiced, **ledger}]
    wrong = [found for found in both if abs(found.micro_usd) > tolerance]
    return sorted(wrong, key=lambda found: (-abs(found.micro_usd), found.key))


def explained(difference: Difference, entries: Iterable[Entry]) -> str:
    """What the ledger's side of a difference is made of, where a month is compared: empty where it has nothing."""
    mine = [one for one in entries if all(str(getattr(one.line, column)) == value for column, value in difference.key)]
    if not mine:
        return ""
    lines = [one.line for one in mine if not one.corrects]
    beyond = sum(max(0, line.billed_seconds - line.pod_seconds) for line in lines)
    late = [one for one in mine if one.corrects]
    parts = [
        f"the ledger has {sum(line.pods for line in lines)} pods that ended in the month",
        f"{sum(line.pod_seconds for line in lines)} s of pods",
        f"{beyond} s billed beyond them by minimums and increments",
    ]
    if late:
        months = ", ".join(sorted({one.corrects for one in late}))
        cost = sum(one.line.cost_micro_usd for one in late)
        parts.append(f"corrections of {months}: {exact_usd(cost)} USD")
    return ", ".join(parts)

"""An invoice held against the ledger: which lines differ, and by how much.

The invoice is a CSV with an amount and at least one column that says what it is for; our own names and those of FOCUS
are understood. Both sides are added up by the columns that the invoice has, so a bill by plan is compared by plan.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from llmtrain.ledger.csvfile import exact_usd
from llmtrain.ledger.lines import Line
from llmtrain.ledger.periods import Entry

AMOUNTS = ("costUsd", "BilledCost", "amountUsd")
KEYS = {
    "namespace": "namespace", "SubAccountName": "namespace", "job": "job", "ResourceName": "job", "stage": "stage",
    "role": "role", "plan": "plan", "SkuId": "plan", "tenure": "tenure",
}  # fmt: skip
MICRO = Decimal(1_000_000)
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


def read_invoice(text: str) -> tuple[list[str], dict[Key, int]]:
    """Key columns, in our names, and microdollars by key."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    header = list(reader.fieldnames or [])
    amount = next((name for name in AMOUNTS if name in header), None)
    found = {column: KEYS[column] for column in header if column in KEYS}
    if amount is None:
        raise InvoiceError(f"line 1: no amount column; allowed is one of {', '.join(AMOUNTS)}")
    if not found:
        raise InvoiceError(f"line 1: no column says what a line is for; allowed are {', '.join(KEYS)}")
    if len(set(found.values())) < len(found):
        raise InvoiceError(f"line 1: {', '.join(found)} name the same thing twice; keep one of them")
    sums: dict[Key, int] = {}
    for row in reader:
        key = tuple((name, (row[column] or "").strip()) for column, name in found.items())
        sums[key] = sums.get(key, 0) + _micro(row[amount], reader.line_num, amount)
    return list(found.values()), sums


def _micro(text: str | None, line: int, column: str) -> int:
    try:
        value = Decimal((text or "").strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise InvoiceError(f"line {line}: `{column}` must be a decimal number, not {text!r}")
    return int((value * MICRO).to_integral_value())


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

"""A month of the ledger as CSV."""

from collections.abc import Iterable

from llmtrain.ledger.csvfile import COLUMNS, csv_row, write
from llmtrain.ledger.grouping import row_id
from llmtrain.ledger.periods import Entry

OF_A_PERIOD = ("period", "correctsPeriod")


def period_csv(entries: Iterable[Entry], label: str = "") -> str:
    """Our own columns, with the month, and the closed one that a line corrects; one more for the label that lines were added up by."""
    more = [f"label:{label}"] if label else []
    return write((*COLUMNS, *OF_A_PERIOD, *more), (_row(entry, label) for entry in entries))


def _row(entry: Entry, label: str) -> dict[str, str]:
    told = (entry.period, *(("Correction", entry.corrects) if entry.corrects else ()))
    own = {
        "rowId": row_id(entry.line, *told),
        "state": entry.state,
        "period": entry.period,
        "correctsPeriod": entry.corrects,
    }
    return csv_row(entry.line) | own | ({f"label:{label}": entry.line.labels.get(label, "")} if label else {})

"""The ledger as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping

from llmtrain.ledger.goodput import KINDS
from llmtrain.ledger.grouping import row_id
from llmtrain.ledger.lines import Line

COLUMNS = (
    "namespace", "job", "jobUid", "stage", "role", "plan", "tenure", "state", "startTime", "endTime", "pods",
    "podSeconds", "billedSeconds", "acceleratorSeconds", "costUsd", "energyJoules", *(f"{kind}Seconds" for kind in KINDS),
    "rowId",
)  # fmt: skip


def exact_usd(micro: int) -> str:
    """US dollars with all six decimals."""
    sign, micro = ("-", -micro) if micro < 0 else ("", micro)
    return f"{sign}{micro // 1_000_000}.{micro % 1_000_000:06d}"


def write(columns: Iterable[str], rows: Iterable[Mapping[str, str]]) -> str:
    """Rows as CSV with a header (RFC 4180)."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def ledger_csv(lines: Iterable[Line], label: str = "") -> str:
    """Our own columns, and the month; one more for the label that the lines were added up by, if they were."""
    column = [f"label:{label}"] if label else []
    return write((*COLUMNS, "month", *column), (_row(line, label) for line in lines))


def _row(line: Line, label: str) -> dict[str, str]:
    by_label = {f"label:{label}": line.labels.get(label, "")} if label else {}
    return csv_row(line) | {"month": line.month, "rowId": row_id(line, line.month)} | by_label


def csv_row(line: Line) -> dict[str, str]:
    """A line in our own columns."""
    row = {
        "rowId": row_id(line),
        "namespace": line.namespace,
        "job": line.job,
        "jobUid": line.uid,
        "stage": line.stage,
        "role": line.role,
        "plan": line.plan,
        "tenure": line.tenure,
        "state": line.state,
        "startTime": line.start,
        "endTime": line.end,
        "pods": str(line.pods),
        "podSeconds": str(line.pod_seconds),
        "billedSeconds": str(line.billed_seconds),
        "acceleratorSeconds": str(line.accelerator_seconds),
        "costUsd": exact_usd(line.cost_micro_usd),
        "energyJoules": str(line.energy_joules),
    }
    return row | {f"{kind}Seconds": str(getattr(line.split, kind)) for kind in KINDS}

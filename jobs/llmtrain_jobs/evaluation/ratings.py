"""Rating by people: a sheet of answers side by side, and its way back.

Which side is ours is drawn from the seed and the prompt's number, so that the sheet gives nothing away and needs no key.
"""

import csv
import hashlib
import io
from collections.abc import Sequence

from llmtrain.storage.store import Store
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.evaluation.judge import OURS, THEIRS, TIE, UNREAD, Pair

COLUMNS = ("id", "prompt", "left", "right", "better")
ALLOWED = ("left", "right", "tie", "")


def ours_is_left(seed: int, number: int) -> bool:
    """A coin for each prompt."""
    return hashlib.sha256(f"{seed}:{number}".encode()).digest()[0] % 2 == 0


def sheet(pairs: Sequence[Pair], seed: int) -> str:
    """CSV with an empty column `better`: left, right or tie."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for pair in pairs:
        left, right = (pair.ours, pair.theirs) if ours_is_left(seed, pair.id) else (pair.theirs, pair.ours)
        writer.writerow([pair.id, pair.prompt, left, right, ""])
    return out.getvalue()


def read_ratings(store: Store, file: str) -> str:
    """The sheet's text; spreadsheets put a byte order mark before it."""
    with store.open(file) as sheet:
        data = sheet.read()
    try:
        return str(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _wrong(file, f"is no UTF-8 ({error})") from error


def check_sheet(file: str, text: str) -> list[dict[str, str]]:
    """Its rows; raises bad input where columns are missing or `better` is none of what it may be."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise _wrong(file, f"after line {reader.line_num}: {error}") from error
    if reader.fieldnames is None or set(COLUMNS) - set(reader.fieldnames):
        raise _wrong(file, f"needs the columns {', '.join(COLUMNS)}")
    for row in rows:
        if any(row[column] is None for column in COLUMNS):
            raise _wrong(file, f"id {row['id']}: the row has not all columns")
        if row["better"].strip().lower() not in ALLOWED:
            raise _wrong(file, f"id {row['id']}: `better` is {row['better']!r}; it must be left, right, tie or empty")
    return rows


def read_sheet(file: str, text: str, pairs: Sequence[Pair], seed: int) -> list[str]:
    """Outcomes in the order of the pairs; rows that nobody rated count as unread."""
    rows = {row["id"]: row for row in check_sheet(file, text)}
    outcomes = []
    for pair in pairs:
        row = rows.get(str(pair.id))
        if row is None:
            outcomes.append(UNREAD)
            continue
        outcomes.append(_outcome(file, row, pair, ours_is_left(seed, pair.id)))
    return outcomes


def _outcome(file: str, row: dict[str, str], pair: Pair, left_is_ours: bool) -> str:
    expected = (pair.ours, pair.theirs) if left_is_ours else (pair.theirs, pair.ours)
    if (row["left"], row["right"]) != expected:
        raise _wrong(file, f"id {pair.id}: the answers are not those of this evaluation; rate its own sheet")
    better = row["better"].strip().lower()
    if better in ("", "tie"):
        return TIE if better else UNREAD
    return OURS if (better == "left") == left_is_ours else THEIRS


def _wrong(file: str, problem: str) -> StageError:
    return bad_input(f"`{file}`: {problem}", "MalformedRatings")

"""Rows of JSON lines, and how a row that is not what a task needs is told."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.evaluation.finite import is_whole

Fields = dict[str, Any]
SHOWN_PROBLEMS = 3
DIGITS = re.compile(r"[ \t]*[0-9]{1,9}[ \t]*")
T = TypeVar("T")


class RowError(Exception):
    """What is wrong with one row, and what is allowed."""


def read_rows(file: str, lines: Iterable[bytes]) -> list[Fields]:
    """Objects of a JSON lines file; blank lines are passed over."""
    return [row for _, row in rows_of(file, lines)]


def check_rows(file: str, rows: Iterable[tuple[int, Any]], convert: Callable[[Any], T | None]) -> list[T]:
    """Convert all rows, or an error that names the file and the first lines at fault."""
    good: list[T] = []
    problems: list[str] = []
    for number, row in rows:
        try:
            made = convert(row)
        except RowError as error:
            problems.append(f"line {number}: {error}")
            continue
        if made is not None:
            good.append(made)
    if problems:
        more = f" ({len(problems)} lines are wrong)" if len(problems) > SHOWN_PROBLEMS else ""
        raise malformed(file, "; ".join(problems[:SHOWN_PROBLEMS]) + more)
    if not good:
        raise malformed(file, "it has no rows")
    return good


def rows_of(file: str, lines: Iterable[bytes]) -> list[tuple[int, Fields]]:
    """Objects of a JSON lines file with the numbers of their lines; blank lines are passed over."""

    def numbered(line: tuple[int, bytes]) -> tuple[int, Fields] | None:
        row = _parse(line[1])
        return None if row is None else (line[0], row)

    return check_rows(file, ((number, (number, line)) for number, line in enumerate(lines, start=1)), numbered)


def malformed(file: str, problem: str) -> StageError:
    """The file is at fault."""
    return bad_input(f"`{file}`: {problem}", "MalformedTaskFile")


def _parse(line: bytes) -> Fields | None:
    if not line.strip():
        return None
    try:
        row = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RowError(f"is no JSON ({error})") from error
    if not isinstance(row, dict):
        raise RowError("must be a JSON object")
    return row


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


def text(row: Fields, field: str) -> str:
    """A text that is not empty."""
    return filled(row.get(field), field)


def filled(value: Any, field: str) -> str:
    """A text that is not empty, and that UTF-8 can write."""
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"`{field}` must be a text that is not empty")
    return encodable(value, field)


def encodable(value: str, field: str) -> str:
    """A text that UTF-8 can write."""
    if not is_whole(value):
        raise RowError(f"`{field}` has half of a surrogate pair, which is no character")
    return value


def texts(row: Fields, field: str, least: int = 2) -> list[str]:
    """A list of texts, none empty."""
    return check_choices(row.get(field), field, least)


def check_choices(value: Any, field: str, least: int = 2) -> list[str]:
    """A list of at least `least` texts, none empty."""
    if not isinstance(value, list) or len(value) < least:
        raise RowError(f"`{field}` must be a list of at least {least} texts")
    if not all(isinstance(choice, str) and choice.strip() for choice in value):
        raise RowError(f"`{field}` has an entry that is empty or no text")
    return [encodable(choice, field) for choice in value]


def index(value: Any, field: str, count: int) -> int:
    """An index into `count` entries, as a number or its digits, 0 to 9."""
    number = int(value) if isinstance(value, str) and DIGITS.fullmatch(value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
        raise RowError(f"`{field}` is {value!r}; it must be an index from 0 to {count - 1}")
    return number

"""Rows of JSON lines, and how a row that is not what a task needs is told."""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from llmtrain_jobs.errors import StageError, bad_input

Fields = dict[str, Any]
SHOWN_PROBLEMS = 3
T = TypeVar("T")


class RowError(Exception):
    """What is wrong with one row, and what is allowed."""


def read_rows(file: str, lines: Iterable[bytes]) -> list[Fields]:
    """Objects of a JSON lines file; blank lines are passed over."""
    return check_rows(file, enumerate(lines, start=1), _parse)


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


def malformed(file: str, problem: str) -> StageError:
    """The file is at fault."""
    return bad_input(f"`{file}`: {problem}", "MalformedTaskFile")


def _parse(line: bytes) -> Fields | None:
    if not line.strip():
        return None
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RowError(f"is no JSON ({error})") from error
    if not isinstance(row, dict):
        raise RowError("must be a JSON object")
    return row


def text(row: Fields, field: str) -> str:
    """A text that is not empty."""
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"`{field}` must be a text that is not empty")
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
    return list(value)


def index(value: Any, field: str, count: int) -> int:
    """An index into `count` entries, as a number or its digits."""
    number = int(value) if isinstance(value, str) and value.strip().isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
        raise RowError(f"`{field}` is {value!r}; it must be an index from 0 to {count - 1}")
    return number

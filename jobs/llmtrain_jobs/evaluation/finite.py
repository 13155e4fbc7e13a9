"""Numbers that are none, and JSON without them: a model that computes NaN has no score, whatever an argmax makes of it."""

import json
import math
from collections.abc import Iterable
from typing import Any

from llmtrain_jobs.errors import StageError, bad_input

REASON = "ScoreNotFinite"
BEYOND = "more than a floating-point number holds"


def not_finite(what: str) -> StageError:
    """`what` came out as infinite or as no number at all."""
    return bad_input(f"{what} not finite", REASON)


def check_finite(values: Iterable[float], what: str) -> None:
    """Raises where one of the values is infinite or no number."""
    if not all(map(math.isfinite, values)):
        raise not_finite(what)


def exponential(value: float) -> float:
    """e to the power of `value`; infinite where a float cannot hold it."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def strict_json(value: Any, **options: Any) -> str:
    """JSON as RFC 8259 has it: a number that is not finite is null."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_without(value), allow_nan=False, **options)


def whole(text: str) -> str:
    """Text with each half of a surrogate pair replaced, which JSON may bring and UTF-8 has no bytes for."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_whole(text: str) -> bool:
    """Whether there is no half of a surrogate pair in it."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def json_bytes(value: Any) -> bytes:
    """One line of JSON in UTF-8. Half a surrogate pair, which UTF-8 has no bytes for, stays as JSON's own escape."""
    return strict_json(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

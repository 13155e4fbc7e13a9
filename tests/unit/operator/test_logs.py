"""The log as a collector reads it."""

import json
import logging
import sys

from llmtrain_operator.logs import JsonLines


def test_a_line_is_one_object_with_the_exception_in_it() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("llmtrain.operator", logging.ERROR, __file__, 1, "job %s", ("a/b",), sys.exc_info())
    record.created = 1772366400.5
    line = JsonLines().format(record)
    assert "\n" not in line
    body = json.loads(line)
    assert {key: body[key] for key in ("time", "level", "logger", "message")} == {
        "time": "2026-03-01T12:00:00.500+00:00",
        "level": "ERROR",
        "logger": "llmtrain.operator",
        "message": "job a/b",
    }
    assert "ValueError: two\nlines" in body["exception"]

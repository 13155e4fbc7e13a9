"""The log as a collector reads it."""

import json
import logging
import sys

import pytest
from llmtrain_operator.logs import LINE, JsonLines, TextLines, configure


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


def test_a_line_for_people_is_one_line_whatever_a_pod_says() -> None:
    said = "\x1b]0;owned\x07done\n2026-01-01 ERROR forged \u202e"
    record = logging.LogRecord("llmtrain.operator", logging.WARNING, __file__, 1, "pod says %s", (said,), None)
    line = TextLines(LINE).format(record)
    assert line.endswith("WARNING llmtrain.operator pod says done 2026-01-01 ERROR forged ")
    assert record.args == (said,), "other handlers see the record as it was"


def test_a_traceback_keeps_its_lines_and_loses_its_escapes() -> None:
    try:
        raise ValueError("\x1b[2Jgone")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "job", (), sys.exc_info())
    text = TextLines(LINE).format(record)
    assert "\x1b" not in text
    assert text.splitlines()[-1] == "ValueError: gone"


@pytest.mark.parametrize("chatty", ["kopf.objects", "aiohttp.access"])
def test_libraries_tell_of_no_single_event(chatty: str) -> None:
    """kopf has a line for each change of each job, which is one a minute and job at rest."""
    logger, root = logging.getLogger(chatty), logging.getLogger()
    before, handlers, level = logger.level, root.handlers[:], root.level
    try:
        configure("INFO", "Text")
        assert not logger.isEnabledFor(logging.INFO)
        assert logger.isEnabledFor(logging.WARNING)
    finally:
        logger.setLevel(before)
        root.setLevel(level)
        root.handlers[:] = handlers

"""How the operator writes its log: lines for people, or one JSON object a line for a collector."""

import copy
import json
import logging
from datetime import UTC, datetime

from llmtrain.text import lines, plain

LONGEST_MESSAGE = 4096
TEXT, JSON = "Text", "Json"
LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonLines(logging.Formatter):
    """`time` (RFC 3339, UTC), `level`, `logger`, `message`, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        body = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(body)


class TextLines(logging.Formatter):
    """One line a record, whatever words of others are in it; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback where there is one."""
        clean = copy.copy(record)
        clean.msg, clean.args = plain(record.getMessage(), LONGEST_MESSAGE), None
        return lines(super().format(clean))


def configure(level: str, form: str) -> None:
    """Set up the root logger. `form` is Text or Json."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == JSON else TextLines(LINE))
    logging.basicConfig(level=level, handlers=[handler])
    # kopf tells of every event that it passes on; the job loops say what matters.
    for chatty in ("kopf.objects", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)

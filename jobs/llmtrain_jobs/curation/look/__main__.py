"""The process of a look: its request on standard input, a line of JSON for each source on standard output."""

import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from llmtrain.api.stageconfig import FailureClass
from llmtrain.inspection.report import Answer, Refusal, Request, SourceReport
from llmtrain.storage.errors import StorageError
from llmtrain_jobs.curation.look.source import look_at
from llmtrain_jobs.curation.look.tools import tools_of
from llmtrain_jobs.curation.reading.record import Record
from llmtrain_jobs.entrypoint.driver import store_of
from llmtrain_jobs.errors import StageError


def reports(request: Request) -> Iterator[SourceReport]:
    """One source after the other; each has its share of the time that is left, once models and loops are there."""
    store = store_of(request.config)
    tools = tools_of(store, request.config.spec, request.model_bytes)
    tools.preparer.prepare(Record(1, 0, "The loops are compiled by a first text."))
    end = time.monotonic() + request.seconds
    count = len(tools.curation.sources)
    for source in range(count):
        now = time.monotonic()
        until = now + (end - now) / (count - source)
        yield look_at(store, tools, source, request.records, until)


def answers(request: Request) -> Iterator[Answer]:
    """The reports, or those before what cannot be looked at, and why."""
    try:
        for report in reports(request):
            yield Answer(source=report)
    except StageError as error:
        yield Answer(refusal=Refusal(failure=error.failure, reason=error.reason, message=error.message))
    except StorageError as error:
        failure = FailureClass(error.problem.value)
        yield Answer(refusal=Refusal(failure=failure, reason=error.problem.value, message=error.message))


def limit_memory(allowed: int) -> None:
    """The kernel refuses private memory beyond what is held now and so much more: an error here, and no killed pod."""
    page = os.sysconf("SC_PAGE_SIZE")
    held = int(Path("/proc/self/statm").read_text().split()[5]) * page
    resource.setrlimit(resource.RLIMIT_DATA, (held + allowed, held + allowed))


def main() -> None:
    """Entry point."""
    request = Request.model_validate_json(sys.stdin.buffer.read())
    if request.memory_bytes:
        limit_memory(request.memory_bytes)
    for answer in answers(request):
        print(answer.model_dump_json(by_alias=True), flush=True)


if __name__ == "__main__":
    main()

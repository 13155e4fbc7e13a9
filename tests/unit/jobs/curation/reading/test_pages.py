"""A page may end the process that reads it, never the stage: its time and its text are bounded."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from llmtrain_jobs.curation.reading.pagelimits import PageLimits
from llmtrain_jobs.curation.reading.pages import PageFailed, Pages

from tests.unit.jobs.curation.reading.archives import PAGE, SENTENCE

LONG = b"<article>" + b"<p>A paragraph with <b>words</b> and a <a href=/x>link</a>.</p>" * 60_000


@pytest.fixture
def pages() -> Iterator[Pages]:
    made = Pages(PageLimits(20), 1 << 20)
    yield made
    made.close()


def test_texts_come_one_after_the_other(pages: Pages) -> None:
    assert SENTENCE.strip() in pages.text(PAGE, "", "").text
    assert pages.text(b"", "", "").text == ""
    korean = f"<p>{'대한민국 ' * 50}".encode("cp949")
    found = pages.text(korean, "euc-kr", "kr")
    assert ("대한민국" in found.text, found.charset) == (True, "cp949")
    assert pages.text(PAGE, "no charset of this world " * 20, "\u2603") == pages.text(PAGE, "", "")


def test_a_page_has_a_time_limit_and_the_next_one_is_read() -> None:
    pages = Pages(PageLimits(0.05), 1 << 24)
    with pytest.raises(PageFailed, match=r"no text after 0\.05 s"):
        pages.text(LONG, "", "")
    assert SENTENCE.strip() in pages.text(PAGE, "", "").text
    pages.close()


def test_a_text_longer_than_a_document_may_be_is_told(pages: Pages) -> None:
    with pytest.raises(PageFailed, match=r"a text of \d+ bytes, more than `spec.curation.limits.documentBytes`"):
        pages.text(LONG, "", "")
    assert SENTENCE.strip() in pages.text(PAGE, "", "").text


def process_of(pages: Pages) -> int:
    assert pages._process is not None
    return pages._process.pid


def test_a_parser_that_crashes_costs_one_page(pages: Pages) -> None:
    pages.text(PAGE, "", "")
    os.kill(process_of(pages), signal.SIGSEGV)
    with pytest.raises(PageFailed, match="the parser ended with SIGSEGV"):
        pages.text(LONG, "", "")
    assert SENTENCE.strip() in pages.text(PAGE, "", "").text


def test_a_page_is_asked_for_again_after_somebody_else_killed_the_process(pages: Pages) -> None:
    pages.text(PAGE, "", "")
    os.kill(process_of(pages), signal.SIGKILL)
    assert SENTENCE.strip() in pages.text(PAGE, "", "").text


@pytest.mark.parametrize(
    ("bound", "own"), [(300_000_000, 100_000_000), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)]
)
def test_where_memory_is_bounded_its_process_has_a_part_of_it(bound: int, own: int) -> None:
    program = (
        "import resource; from llmtrain_jobs.curation.reading.pages import share_data_limit\n"
        f"resource.setrlimit(resource.RLIMIT_DATA, ({bound}, {bound})); share_data_limit()\n"
        "print(resource.getrlimit(resource.RLIMIT_DATA)[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == own

"""A page may end the process that reads it, never the stage: its time and its text are bounded."""

import os
import signal
from collections.abc import Iterator

import pytest
from llmtrain_jobs.curation.reading.pages import PageFailed, Pages

from tests.unit.jobs.curation.reading.archives import PAGE, SENTENCE

LONG = b"<article>" + b"<p>A paragraph with <b>words</b> and a <a href=/x>link</a>.</p>" * 60_000


@pytest.fixture
def pages() -> Iterator[Pages]:
    made = Pages(20, 1 << 20)
    yield made
    made.close()


def test_texts_come_one_after_the_other(pages: Pages) -> None:
    assert SENTENCE.strip() in pages.text(PAGE, "", "")
    assert pages.text(b"", "", "") == ""
    korean = f"<p>{'대한민국 ' * 50}".encode("cp949")
    assert "대한민국" in pages.text(korean, "euc-kr", "kr")
    assert pages.text(PAGE, "no charset of this world " * 20, "\u2603") == pages.text(PAGE, "", "")


def test_a_page_has_a_time_limit_and_the_next_one_is_read() -> None:
    pages = Pages(0.05, 1 << 24)
    with pytest.raises(PageFailed, match=r"no text after 0\.05 s"):
        pages.text(LONG, "", "")
    assert SENTENCE.strip() in pages.text(PAGE, "", "")
    pages.close()


def test_a_text_longer_than_a_document_may_be_is_told(pages: Pages) -> None:
    with pytest.raises(PageFailed, match=r"a text of \d+ bytes, more than `spec.curation.limits.documentBytes`"):
        pages.text(LONG, "", "")
    assert SENTENCE.strip() in pages.text(PAGE, "", "")


def process_of(pages: Pages) -> int:
    assert pages._process is not None
    return pages._process.pid


def test_a_parser_that_crashes_costs_one_page(pages: Pages) -> None:
    pages.text(PAGE, "", "")
    os.kill(process_of(pages), signal.SIGSEGV)
    with pytest.raises(PageFailed, match="the parser ended with SIGSEGV"):
        pages.text(LONG, "", "")
    assert SENTENCE.strip() in pages.text(PAGE, "", "")


def test_a_page_is_asked_for_again_after_somebody_else_killed_the_process(pages: Pages) -> None:
    pages.text(PAGE, "", "")
    os.kill(process_of(pages), signal.SIGKILL)
    assert SENTENCE.strip() in pages.text(PAGE, "", "")

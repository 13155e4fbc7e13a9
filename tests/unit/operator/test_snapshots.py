"""A scrape is a thread of its own: it fails in nothing, and loses nothing, while the loops change what it reads."""

import sys
import threading
from collections.abc import Iterator

import pytest
from llmtrain_operator.ledger_books import Book
from llmtrain_operator.snapshots import Snapshots

from llmtrain.api.status import JobStatus, Ledger, LedgerEntry, Stage
from tests.unit.operator.fake_cluster import START

SPACES, JOBS = 4, 3000
SPENT = JobStatus(ledger=Ledger(entries=[LedgerEntry(stage=Stage.TRAINING, role="head", cost_micro_usd=1)]))


@pytest.fixture(autouse=True)
def threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_scrapes_go_through_what_the_loops_change() -> None:
    snapshots, failed, over = Snapshots(lambda: START), list[BaseException](), threading.Event()
    spaces = [f"team-{number}" for number in range(SPACES)]
    snapshots.take_books(START, {space: Book() for space in spaces}, [])

    def scrape() -> None:
        while not over.is_set():
            try:
                snapshots.current()
                snapshots.namespaces()
            except (RuntimeError, KeyError) as error:
                failed.append(error)
                return

    scraper = threading.Thread(target=scrape)
    scraper.start()
    for number in range(JOBS):
        snapshots.put((spaces[number % SPACES], f"j{number}"), SPENT, f"u{number}")
        if number % 2:
            snapshots.drop((spaces[number % SPACES], f"j{number}"))
        if number % 50 == 0:
            snapshots.take_books(START, {space: Book() for space in spaces}, [])
    over.set()
    scraper.join()
    assert failed == []
    assert len(snapshots.jobs) == JOBS
    assert (
        sum(total.cost_micro_usd for told in snapshots.namespaces().values() for total in told.totals.values()) == JOBS
    )

"""What the metrics are made from: the last numbers of every job, and what its namespace has booked beyond its jobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from llmtrain.api.plan import PlanSpec
from llmtrain.api.planstatus import PlanStatus
from llmtrain.api.status import JobStatus
from llmtrain_operator.budget_state import BudgetState
from llmtrain_operator.figures import Figures, figures
from llmtrain_operator.ledger_books import Book

Key = tuple[str, str]
KEPT = timedelta(hours=1)
"""Series of a job that has ended are served for so long, so that no scrape misses its last values."""


@dataclass(frozen=True)
class Snapshot:
    """A job's last numbers. `gone`: when its object went."""

    uid: str
    figures: Figures
    gone: datetime | None = None
    stored: bool = False
    """It was read from the API; no turn has brought it up to now."""

    @property
    def behind(self) -> bool:
        """Its pods alive may have been told to have cost more: the status is written once a minute."""
        return self.stored and self.figures.alive


@dataclass
class Snapshots:
    """Written by the job loops and the upkeep, read by every scrape."""

    clock: Callable[[], datetime]
    jobs: dict[Key, Snapshot] = field(default_factory=dict)
    books: dict[str, tuple[datetime, Book]] = field(default_factory=dict)
    """What a namespace's ledger said, and when it was asked."""
    plans: Mapping[str, tuple[PlanSpec, PlanStatus]] = field(default_factory=dict)
    budgets: Sequence[BudgetState] = ()

    def put(self, key: Key, status: JobStatus, uid: str) -> None:
        """Remember what a job's status says."""
        self.jobs[key] = Snapshot(uid, figures(status))

    def put_stored(self, key: Key, status: JobStatus, uid: str) -> None:
        """Remember what the API has of a job that no loop has looked at yet."""
        if key not in self.jobs:
            self.jobs[key] = Snapshot(uid, figures(status), stored=True)

    def drop(self, key: Key) -> None:
        """A job's object is gone; its total lives on in the namespace ledger."""
        found = self.jobs.get(key)
        if found is not None and found.gone is None:
            self.jobs[key] = Snapshot(found.uid, found.figures, self.clock())

    def alive(self) -> set[str]:
        """Uids of jobs that a turn has seen and that have not gone since."""
        return {found.uid for found in self.jobs.values() if found.gone is None and not found.stored}

    def current(self) -> list[tuple[Key, Figures]]:
        """Jobs that run, or ended within the last hour, less those of which no more is known than what was stored.

        A gap is none to Prometheus; a counter that falls is taken for one that began anew, and all of it counted twice.
        """
        now = self.clock()
        self.jobs = {key: found for key, found in self.jobs.items() if found.gone is None or now - found.gone < KEPT}
        return [(key, found.figures) for key, found in self.jobs.items() if _served(found, now) and not found.behind]

    def behind(self, namespace: str) -> bool:
        """Whether a job of the namespace is not known up to now."""
        return any(found.behind for (space, _), found in self.jobs.items() if space == namespace)

    def unbooked(self, namespace: str) -> list[Figures]:
        """Jobs of a namespace whose bill is not in its ledger yet; a job goes only once it is booked."""
        asked, book = self.books[namespace]
        mine = [found for (space, _), found in self.jobs.items() if space == namespace]
        return [s.figures for s in mine if s.uid not in book.uids and not (s.gone and s.gone < asked)]


def _served(found: Snapshot, now: datetime) -> bool:
    ended = found.gone or found.figures.ended
    return ended is None or now - ended < KEPT

"""What the metrics are made from: the last numbers of every job, and what its namespace has booked beyond its jobs."""

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from llmtrain.api.plan import PlanSpec
from llmtrain.api.planstatus import PlanStatus
from llmtrain.api.status import JobStatus
from llmtrain.ledger.periods import month_micro_usd
from llmtrain_operator import monthly
from llmtrain_operator.budget_state import BudgetState
from llmtrain_operator.departed import Departed, add, beyond, months_beyond
from llmtrain_operator.figures import Figures, LabelSet, Total, figures
from llmtrain_operator.ledger_books import Book, Totals, months_near

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


@dataclass(frozen=True)
class Told:
    """What is told of a namespace: amounts by labels, and the part that was carried over unverified, microdollars.

    `months`: what last month and this one come to, microdollars; none of them where a document of the ledger cannot be read.
    """

    totals: Mapping[LabelSet, Total]
    carried_micro_usd: int
    months: Mapping[str, int]


@dataclass
class Snapshots:
    """Written by the job loops and the upkeep, read by every scrape, each of which is a thread of its own."""

    clock: Callable[[], datetime]
    jobs: dict[Key, Snapshot] = field(default_factory=dict)
    books: dict[str, tuple[datetime, Book]] = field(default_factory=dict)
    """What the ledgers of the namespaces that are told said, and when they were asked."""
    plans: Mapping[str, tuple[PlanSpec, PlanStatus]] = field(default_factory=dict)
    budgets: Sequence[BudgetState] = ()
    _departed: dict[str, Departed] = field(default_factory=dict)
    _told: dict[str, Totals] = field(default_factory=dict)
    """The namespaces' totals as they were last told."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while `jobs`, `_departed` or `_told` are changed or gone through, never across an await."""

    def put(self, key: Key, status: JobStatus, uid: str, created: str = "") -> None:
        """Remember what a job's status says. `created`: when the job was made, as the API has it."""
        known = figures(status, created)
        with self._lock:
            if key in self.jobs and self.jobs[key].uid != uid:
                self._drop(key)
            if key[0] in self._departed:  # it is there again: etcd was restored from a backup
                self._departed[key[0]].apart.pop(uid, None)
            self.jobs[key] = Snapshot(uid, known)

    def put_stored(self, key: Key, status: JobStatus, uid: str, created: str = "") -> None:
        """Remember what the API has of a job that no loop has looked at yet."""
        with self._lock:
            if key not in self.jobs:
                self.jobs[key] = Snapshot(uid, figures(status, created), stored=True)

    def unseen(self) -> dict[Key, str]:
        """Jobs of which no more is known than what was stored, and their uids."""
        with self._lock:
            return {key: found.uid for key, found in self.jobs.items() if found.stored and found.gone is None}

    def drop_unseen(self, key: Key, uid: str) -> None:
        """A job went before any loop had looked at it, so nobody else will tell."""
        with self._lock:
            if key in self.jobs and self.jobs[key].stored and self.jobs[key].uid == uid:
                self._drop(key)

    def drop(self, key: Key) -> None:
        """A job's object is gone; its total lives on in the namespace ledger, or else here."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        found, now = self.jobs.get(key), self.clock()
        if found is None or found.gone is not None:
            return
        self.jobs[key] = Snapshot(found.uid, found.figures.gone(), now)
        if any(total.pod_seconds or total.cost_micro_usd for total in found.figures.totals.values()):
            self._departed.setdefault(key[0], Departed(now)).leave(found.uid, found.figures.bill, now)

    def alive(self) -> set[str]:
        """Uids of jobs that a turn has seen and that have not gone since."""
        with self._lock:
            return {found.uid for found in self.jobs.values() if found.gone is None and not found.stored}

    def current(self) -> list[tuple[Key, Figures]]:
        """Jobs that run, or ended within the last hour, less those of which no more is known than what was stored.

        A gap is none to Prometheus; a counter that falls is taken for one that began anew, and all of it counted twice.
        """
        now = self.clock()
        with self._lock:
            self.jobs = {key: job for key, job in self.jobs.items() if job.gone is None or now - job.gone < KEPT}
            return [(key, job.figures) for key, job in self.jobs.items() if _served(job, now) and not job.behind]

    def lacking(self) -> set[str]:
        """Namespaces of which jobs went this month or last that are not known to be booked."""
        near = months_near(self.clock())
        with self._lock:
            return {namespace for namespace, found in self._departed.items() if f"{found.newest:%Y-%m}" in near}

    def take_books(self, asked: datetime, books: Mapping[str, Book], ready: Collection[str]) -> None:
        """What the ledgers said when they were asked. Namespaces that are not in `books` are told if they are `ready`."""
        with self._lock:
            self.books = {name: (asked, books.get(name, Book())) for name in {*books, *ready}}
            self._told = {name: totals for name, totals in self._told.items() if name in self.books}
            for name in self._departed.keys() & self.books.keys():
                if not self._departed[name].tidy(self.books[name][1], asked):
                    del self._departed[name]

    def namespaces(self) -> dict[str, Told]:
        """What is told of each namespace: its ledger, and what that lacks of its jobs, those that went among them.

        One is told once its ledger and all its jobs are known up to now: no restart sets it back.
        """
        with self._lock:
            jobs: dict[str, list[Snapshot]] = defaultdict(list)
            for (space, _), found in self.jobs.items():
                jobs[space].append(found)
            return {
                name: Told(
                    self._totals(name, book, jobs[name]), book.carried_micro_usd, self._months(name, book, jobs[name])
                )
                for name, (_, book) in self.books.items()
                if not any(found.behind for found in jobs[name])
            }

    def _totals(self, namespace: str, book: Book, jobs: Sequence[Snapshot]) -> Totals:
        """Nothing told ever falls: where a part was too high, it stands until it is caught up."""
        sums: Totals = {}
        add(sums, book.totals)
        for found in jobs:
            if found.gone is None:
                add(sums, beyond(found.uid, found.figures.bill, book))
        if namespace in self._departed:
            for lacking in self._departed[namespace].beyond(book):
                add(sums, lacking)
        told = self._told.setdefault(namespace, {})
        for labels, total in sums.items():
            told.setdefault(labels, Total()).lift(total)
        return {labels: replace(total) for labels, total in told.items()}

    def _months(self, namespace: str, book: Book, jobs: Sequence[Snapshot]) -> dict[str, int]:
        """Last month and this one, as `llmtrain cost --month` has them, with jobs that went and are in no ledger yet."""
        closed = monthly.told_by_month(book.closed)
        if closed is None or book.lacking:
            return {}
        known = dict(book.months)
        for found in jobs:
            if found.gone is None:
                monthly.add(known, months_beyond(found.uid, found.figures.bill, book).items())
        if namespace in self._departed:
            for lacking in self._departed[namespace].months_beyond(book):
                monthly.add(known, lacking.items())
        last, this, _ = months_near(self.clock())
        return {month: month_micro_usd(month, known, closed) for month in (last, this)}


def _served(found: Snapshot, now: datetime) -> bool:
    ended = found.gone or found.figures.ended
    return ended is None or now - ended < KEPT

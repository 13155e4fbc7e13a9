"""What the metrics are made from: the last numbers of every job, and what its namespace has booked beyond its jobs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from llmtrain.api.plan import PlanSpec
from llmtrain.api.planstatus import PlanStatus
from llmtrain.api.status import JobStatus
from llmtrain_operator.budget_state import BudgetState
from llmtrain_operator.departed import Departed, add, beyond
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


@dataclass
class Snapshots:
    """Written by the job loops and the upkeep, read by every scrape."""

    clock: Callable[[], datetime]
    jobs: dict[Key, Snapshot] = field(default_factory=dict)
    books: dict[str, tuple[datetime, Book]] = field(default_factory=dict)
    """What the ledgers of the namespaces that are told said, and when they were asked."""
    plans: Mapping[str, tuple[PlanSpec, PlanStatus]] = field(default_factory=dict)
    budgets: Sequence[BudgetState] = ()
    _departed: dict[str, Departed] = field(default_factory=dict)
    _told: dict[str, Totals] = field(default_factory=dict)
    """The namespaces' totals as they were last told."""

    def put(self, key: Key, status: JobStatus, uid: str) -> None:
        """Remember what a job's status says."""
        if key in self.jobs and self.jobs[key].uid != uid:
            self.drop(key)
        if key[0] in self._departed:  # it is there again: etcd was restored from a backup
            self._departed[key[0]].apart.pop(uid, None)
        self.jobs[key] = Snapshot(uid, figures(status))

    def put_stored(self, key: Key, status: JobStatus, uid: str) -> None:
        """Remember what the API has of a job that no loop has looked at yet."""
        if key not in self.jobs:
            self.jobs[key] = Snapshot(uid, figures(status), stored=True)

    def drop(self, key: Key) -> None:
        """A job's object is gone; its total lives on in the namespace ledger, or else here."""
        found, now = self.jobs.get(key), self.clock()
        if found is None or found.gone is not None:
            return
        self.jobs[key] = Snapshot(found.uid, found.figures, now)
        if any(total.pod_seconds or total.cost_micro_usd for total in found.figures.totals.values()):
            self._departed.setdefault(key[0], Departed(now)).leave(found.uid, found.figures.bill, now)

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

    def lacking(self) -> set[str]:
        """Namespaces of which jobs went this month or last that are not known to be booked."""
        near = months_near(self.clock())
        return {namespace for namespace, found in self._departed.items() if f"{found.newest:%Y-%m}" in near}

    def take_books(self, asked: datetime, books: Mapping[str, Book], ready: Collection[str]) -> None:
        """What the ledgers said when they were asked. Namespaces that are not in `books` are told if they are `ready`."""
        self.books = {name: (asked, books.get(name, Book())) for name in {*books, *ready}}
        self._told = {name: totals for name, totals in self._told.items() if name in self.books}
        for name in self._departed.keys() & self.books.keys():
            if not self._departed[name].tidy(self.books[name][1], asked):
                del self._departed[name]

    def totals(self, namespace: str) -> Mapping[LabelSet, Total]:
        """What is told of a namespace: its ledger, and what that lacks of its jobs, those that went among them.

        Nothing told ever falls: where a part was too high, it stands until it is caught up.
        """
        _, book = self.books[namespace]
        sums: Totals = {}
        add(sums, book.totals)
        for (space, _), found in self.jobs.items():
            if space == namespace and found.gone is None:
                add(sums, beyond(found.uid, found.figures.bill, book))
        if namespace in self._departed:
            for lacking in self._departed[namespace].beyond(book):
                add(sums, lacking)
        told = self._told.setdefault(namespace, {})
        for labels, total in sums.items():
            told.setdefault(labels, Total()).lift(total)
        return told


def _served(found: Snapshot, now: datetime) -> bool:
    ended = found.gone or found.figures.ended
    return ended is None or now - ended < KEPT

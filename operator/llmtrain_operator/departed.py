"""Jobs that went without being in the ledger: what was told of them stays in their namespace's total.

The ledger may take nothing for long, and pods of a job whose finalizer somebody strips are booked one by one, later
(orphans.py). What is found in the book is no longer told from here. So the newest jobs are kept one by one; of those before
them the settled part is a sum, and what their pods had not settled is left to be booked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from llmtrain_operator import monthly
from llmtrain_operator.figures import Bill, LabelSet, Total
from llmtrain_operator.ledger_books import Book, Totals
from llmtrain_operator.monthly import Months

MOST_APART = 1000
"""Jobs of a namespace, in no ledger, that are kept one by one."""
MOST_UNKNOWN = 10 * MOST_APART
"""The same while the ledger cannot be read."""


def is_booked(uid: str, bill: Bill, book: Book) -> bool:
    """Whether a job is in the book. A list that was taken over is not believed of one whose pods were there since."""
    return uid in book.uids or (uid in book.carried_uids and not bill.provisional)


def beyond(uid: str, bill: Bill, book: Book) -> Totals:
    """What the book lacks of a job's bill: nothing of a job that is in there, and not those of its pods that are.

    Of one that was stripped the settled part may be in there before its pods: until they are, what was told stands.
    """
    if is_booked(uid, bill, book):
        return {}
    rest = {labels: replace(total) for labels, total in bill.totals.items()}
    for pod in bill.provisional:
        if pod.uid in book.pods:
            rest[pod.labels].take(pod.total)
    for pod_uid in bill.settled:
        for labels, total in book.pods.get(pod_uid, {}).items():
            rest.setdefault(labels, Total()).take(total)
    return rest


def months_beyond(uid: str, bill: Bill, book: Book) -> Months:
    """The same by the month in which it accrued, microdollars."""
    if is_booked(uid, bill, book):
        return {}
    rest = dict(bill.months)
    for pod in bill.provisional:
        if pod.uid in book.pods:
            monthly.take(rest, pod.months)
    for pod_uid in bill.settled:
        monthly.take(rest, book.pod_months.get(pod_uid, {}).items())
    return rest


def add(totals: Totals, more: Mapping[LabelSet, Total]) -> None:
    """Add to sums."""
    for labels, total in more.items():
        totals.setdefault(labels, Total()).add(total)


@dataclass
class Departed:
    """Of one namespace: jobs that have gone and are not known to be booked."""

    newest: datetime
    """When the last of them went."""
    apart: dict[str, tuple[datetime, Bill]] = field(default_factory=dict)
    """By uid, when they went and what was told of them; the oldest first."""
    folded: Totals = field(default_factory=dict)
    folded_months: Months = field(default_factory=dict)

    def leave(self, uid: str, bill: Bill, now: datetime) -> None:
        """A job goes."""
        self.newest = now
        self.apart[uid] = now, bill
        if len(self.apart) > MOST_UNKNOWN:
            del self.apart[next(iter(self.apart))]

    def beyond(self, book: Book) -> Iterable[Mapping[LabelSet, Total]]:
        """What the book lacks of them."""
        yield self.folded
        for uid, (_, bill) in self.apart.items():
            yield beyond(uid, bill, book)

    def months_beyond(self, book: Book) -> Iterable[Months]:
        """The same by the month in which it accrued, microdollars."""
        yield self.folded_months
        for uid, (_, bill) in self.apart.items():
            yield months_beyond(uid, bill, book)

    def tidy(self, book: Book, asked: datetime) -> bool:
        """Forget who is in the book, which was asked for then, and fold the oldest of too many; whether any is left.

        One that went since may have been booked since.
        """
        self.apart = {uid: entry for uid, entry in self.apart.items() if not is_booked(uid, entry[1], book)}
        lacking = [uid for uid, (gone, _) in self.apart.items() if gone < asked]
        for uid in lacking[: max(0, len(lacking) - MOST_APART)]:
            self._fold(uid, self.apart.pop(uid)[1], book)
        return bool(self.apart or self.folded)

    def _fold(self, uid: str, bill: Bill, book: Book) -> None:
        settled, months = beyond(uid, bill, book), months_beyond(uid, bill, book)
        for pod in bill.provisional:
            if pod.uid not in book.pods:
                settled[pod.labels].take(pod.total)
                monthly.take(months, pod.months)
        add(self.folded, settled)
        monthly.add(self.folded_months, months.items())

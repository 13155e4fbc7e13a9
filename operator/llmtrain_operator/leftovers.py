"""Reservations whose job is gone: which of them end, and with what bill. Pure functions.

A job may be let go while its budgets cannot be read, or go because somebody strips its finalizer; then nobody ends its
reservation, and later jobs are refused money that nobody spends. Jobs are told apart by uid: a name comes back, a uid never.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from llmtrain.api.trainingbudget import Reservation
from llmtrain_operator.ledger_bills import Bill

APART = timedelta(seconds=60)
"""Between two looks at the jobs for the same reservation, and between two tries to end it."""


@dataclass(frozen=True)
class Look:
    """Whether a list of jobs lacked a job, and when that list was answered."""

    at: datetime
    missing: bool


@dataclass(frozen=True)
class Listed:
    """Uids of a namespace's jobs, read live, and when that was asked for and answered."""

    uids: Collection[str]
    asked: datetime
    answered: datetime


def is_due(suspects: Collection[str], looks: Mapping[str, Look], now: datetime) -> bool:
    """Whether the jobs are to be listed: for a reservation that is new among those, or whose last look is a minute old."""
    return any(uid not in looks or now - looks[uid].at >= APART for uid in suspects)


def after_list(
    suspects: Collection[str], looks: Mapping[str, Look], listed: Listed
) -> tuple[dict[str, Look], set[str]]:
    """What is known of the suspects after a list, and which of them are gone: two lists lack them, a minute or more apart."""
    known, gone = dict[str, Look](), set[str]()
    for uid in suspects:
        before, missing = looks.get(uid), uid not in listed.uids
        if before is not None and before.missing and missing:
            if listed.asked - before.at < APART:
                known[uid] = before
                continue
            gone.add(uid)
        known[uid] = Look(listed.answered, missing)
    return known, gone


def final_bill(entry: Reservation, booked: Bill | None) -> tuple[int, str]:
    """The job's whole bill, microdollars: what the ledger has, never less than the job itself had written into its reservation.

    And when the last of it was spent, as far as anybody knows: what the job had not written is of the month in which it was
    deleted, as it is in the ledger.
    """
    noted = entry.baseline_micro_usd + entry.spent_micro_usd
    if booked is None:
        return noted, entry.update_time
    return max(noted, booked.micro_usd), max(entry.update_time, booked.deleted)

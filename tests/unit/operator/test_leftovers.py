"""Which reservations end because their job is gone, and what stays booked of each."""

from datetime import timedelta

import pytest
from llmtrain_operator.ledger_bills import Bill
from llmtrain_operator.leftovers import Listed, Look, after_list, final_bill, is_due

from llmtrain.api.trainingbudget import Reservation
from tests.unit.operator.fake_cluster import START


def at(seconds: int, missing: bool = True) -> Look:
    return Look(START + timedelta(seconds=seconds), missing)


@pytest.mark.parametrize(
    ("before", "asked", "there", "after", "gone"),
    [
        (None, 0, False, at(1), False),
        (None, 0, True, at(1, missing=False), False),
        (at(1), 60, False, at(1), False),
        (at(1), 61, False, at(62), True),
        (at(1), 61, True, at(62, missing=False), False),
        (at(1, missing=False), 61, False, at(62), False),
        (at(1, missing=False), 1000, False, at(1001), False),
    ],
)
def test_a_job_is_gone_once_two_lists_lack_it_a_minute_apart(
    before: Look | None, asked: int, there: bool, after: Look, gone: bool
) -> None:
    looks = {} if before is None else {"a": before}
    told = Listed({"a"} if there else {"b"}, START + timedelta(seconds=asked), START + timedelta(seconds=asked + 1))
    assert after_list({"a"}, looks, told) == ({"a": after}, {"a"} if gone else set())


def test_what_nobody_reserves_for_any_more_is_forgotten() -> None:
    told = Listed(set(), START, START)
    assert after_list({"new"}, {"old": at(0)}, told) == ({"new": at(0)}, set())


@pytest.mark.parametrize(
    ("suspects", "looks", "now", "due"),
    [
        (set(), {}, 0, False),
        (set(), {"a": at(0)}, 1000, False),
        ({"a"}, {}, 0, True),
        ({"a"}, {"a": at(0)}, 59, False),
        ({"a"}, {"a": at(0)}, 60, True),
        ({"a"}, {"a": at(0, missing=False)}, 59, False),
        ({"a"}, {"a": at(0, missing=False)}, 60, True),
        ({"a", "b"}, {"a": at(0)}, 15, True),
    ],
)
def test_jobs_are_listed_once_a_minute_for_the_same_reservation(
    suspects: set[str], looks: dict[str, Look], now: int, due: bool
) -> None:
    assert is_due(suspects, looks, START + timedelta(seconds=now)) is due


MARCH, APRIL = "2026-03-31T23:00:00Z", "2026-04-01T01:00:00Z"


@pytest.mark.parametrize(
    ("noted", "booked", "bill", "ended"),
    [
        (MARCH, None, 30, MARCH),
        (MARCH, Bill(50, MARCH), 50, MARCH),
        (MARCH, Bill(20, MARCH), 30, MARCH),
        (MARCH, Bill(50, APRIL), 50, APRIL),
        (APRIL, Bill(50, MARCH), 50, APRIL),
        ("", Bill(50, MARCH), 50, MARCH),
        ("", None, 30, ""),
    ],
)
def test_the_bill_is_the_ledgers_unless_it_is_less_than_was_noted(
    noted: str, booked: Bill | None, bill: int, ended: str
) -> None:
    entry = Reservation(
        uid="a", job="a", baseline_micro_usd=10, spent_micro_usd=20, reserved_micro_usd=99, update_time=noted
    )
    assert final_bill(entry, booked) == (bill, ended)

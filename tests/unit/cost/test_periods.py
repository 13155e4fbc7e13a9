"""Months of a bill: each gets what accrued in it, and together they are the bill, to the second and the microdollar."""

import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from llmtrain.cost.periods import Share, Tariff, month_bounds, month_of, shares

HOURLY = Tariff(3_990_000, accelerators=2)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}+00:00")


@pytest.mark.parametrize(
    ("start", "seconds", "tariff", "expected"),
    [
        ("11-30T23:00:00", 3600, HOURLY, [("2026-11", 3600, 3600, 7200, 3_990_000)]),
        ("11-30T23:30:00", 3600, HOURLY, [("2026-11", 1800, 1800, 3600, 1_995_000), ("2026-12", 1800, 1800, 3600, 1_995_000)]),
        # What the plan bills beyond the end lies in the month of the end: a minute that began in November is November's.
        ("11-30T23:59:50", 5, Tariff(3600, minimum_seconds=60), [("2026-11", 5, 60, 0, 60)]),
        ("11-30T23:59:50", 20, Tariff(3600, minimum_seconds=60), [("2026-11", 10, 60, 0, 60), ("2026-12", 10, 0, 0, 0)]),
        ("11-30T23:59:50", 61, Tariff(3600, minimum_seconds=60), [("2026-11", 10, 60, 0, 60), ("2026-12", 51, 1, 0, 1)]),
        ("11-30T23:00:00", 5400, Tariff(3600, increment_seconds=3600), [("2026-11", 3600, 3600, 0, 3600), ("2026-12", 1800, 3600, 0, 3600)]),
        ("11-15T00:00:00", 0, HOURLY, [("2026-11", 0, 0, 0, 0)]),
        ("12-01T00:00:00", 1, HOURLY, [("2026-12", 1, 1, 2, 1108)]),
    ],
)  # fmt: skip
def test_a_bill_by_months(
    start: str, seconds: int, tariff: Tariff, expected: list[tuple[str, int, int, int, int]]
) -> None:
    assert shares(at(start), seconds, tariff) == [Share(*map_of) for map_of in expected]


def test_months_add_up_for_any_life_and_any_rule() -> None:
    """Beside the rule in fractions: a whole bill is what its rounded-up seconds cost, rounded half to even."""
    chance = random.Random(7)
    for _ in range(3000):
        tariff = Tariff(
            chance.randrange(0, 200_000_000),
            chance.choice([1, 1, 60, 3600]),
            chance.choice([0, 0, 60, 600]),
            chance.choice([0, 1, 8]),
        )
        start = at("01-01T00:00:00") + timedelta(seconds=chance.randrange(400 * 86400))
        seconds = chance.choice([0, 1, chance.randrange(7200), chance.randrange(200 * 86400)])
        found = shares(start, seconds, tariff)
        billed = -(-seconds // tariff.increment_seconds) * tariff.increment_seconds
        billed = max(billed, tariff.minimum_seconds) if seconds else 0
        assert sum(one.pod_seconds for one in found) == seconds
        assert sum(one.billed_seconds for one in found) == billed
        assert sum(one.accelerator_seconds for one in found) == billed * tariff.accelerators
        assert sum(one.cost_micro_usd for one in found) == round(Fraction(billed * tariff.micro_usd_per_hour, 3600))
        assert all(min(one.pod_seconds, one.billed_seconds, one.cost_micro_usd) >= 0 for one in found)
        months = [one.month for one in found]
        assert months == sorted(set(months))
        assert months[0] == f"{start:%Y-%m}"
        last = start + timedelta(seconds=max(0, seconds - 1))
        assert months[-1] == f"{last:%Y-%m}"


def test_bounds_of_a_month() -> None:
    assert month_bounds("2026-12") == (at("12-01T00:00:00"), datetime(2027, 1, 1, tzinfo=UTC))
    assert month_of(datetime.fromisoformat("2026-12-01T00:30:00+01:00")) == "2026-11"


@pytest.mark.parametrize("text", ["2026-13", "2026", "26-11", "2026-11-01", "", "2026-00"])
def test_what_is_no_month_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no calendar month"):
        month_bounds(text)

"""The forecast narrows with what was measured and agrees with closed forms at its ends."""

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrain.cost.forecast import CALENDAR_SHARE, Measurement, Running, forecast, remaining_hours
from llmtrain.cost.ranges import ZERO, Range, exactly, exceeds, lognormal

PRIOR = lognormal(10.0, 0.34)
NOTHING = Measurement(0.0, 0.0)


def running(done: float, measured: Measurement | None = None) -> Running:
    """Without a measurement nothing is known of how long it has run, either."""
    return Running(PRIOR, done, 1000.0, elapsed_hours=0.0, usd_per_hour=8.0, measured=measured)


def test_without_a_measurement_the_estimate_is_scaled_to_what_is_left() -> None:
    assert remaining_hours(running(250)).p50 == pytest.approx(7.5)


def test_a_day_of_steady_speed_outweighs_the_estimate() -> None:
    left = remaining_hours(running(500, Measurement(per_second=500 / (2 * 3600), seconds=86400)))
    assert left.p50 == pytest.approx(2 / CALENDAR_SHARE, rel=0.06)
    assert left.p90 / left.p10 < 1.25


def test_a_few_seconds_hardly_move_the_estimate() -> None:
    left = remaining_hours(running(0, Measurement(per_second=1000 / (2 * 3600), seconds=1)))
    assert left.p50 == pytest.approx(PRIOR.p50, rel=0.15)


@given(seconds=st.floats(1, 1e6), speed=st.floats(1e-3, 1e3))
def test_a_measurement_never_widens_the_range_and_stays_between_estimate_and_speed(
    seconds: float, speed: float
) -> None:
    left = remaining_hours(running(0, Measurement(speed, seconds)))
    by_speed = 1000 / speed / 3600 / CALENDAR_SHARE
    assert left.p90 / left.p10 <= PRIOR.p90 / PRIOR.p10 * (1 + 1e-9)
    assert min(by_speed, PRIOR.p50) * (1 - 1e-9) <= left.p50 <= max(by_speed, PRIOR.p50) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("done", "elapsed", "left"),
    [(0, 0.0, 3.0), (0, 0.5, 2.5), (250, 0.5, 1.5)],
    ids=["before", "starting", "at-work"],
)
def test_the_start_of_a_stage_is_over_once_it_works(done: int, elapsed: float, left: float) -> None:
    """Of three hours one is for the start: a quarter of the work leaves three quarters of two hours."""
    stage = Running(exactly(3.0), done, 1000.0, elapsed, 8.0, NOTHING if done else None, start_hours=exactly(1.0))
    assert remaining_hours(stage) == exactly(left)


def test_what_is_done_over_the_time_it_took_is_a_measurement() -> None:
    """Estimated to take an hour, it takes twenty: after an hour nineteen are left, and 1,000 dollars are not enough at 100 an hour."""
    for elapsed, done in ((1, 0.05), (5, 0.25), (19, 0.95)):
        found = forecast(100.0 * elapsed, Running(Range(0.5, 1, 2.4), done, 1.0, elapsed, 100.0), [], [])
        assert found.remaining_hours.p50 == pytest.approx(20 - elapsed, rel=0.06)
        assert found.remaining_hours.p10 < 20 - elapsed < found.remaining_hours.p90
        assert found.breach_probability(1000) > 0.99


def test_a_measurement_that_begins_to_know_better_moves_the_forecast_without_a_leap() -> None:
    """From the second on at which it knows as much as the estimate that it contradicts."""
    known = [
        remaining_hours(running(0, Measurement(per_second=0.01, seconds=seconds))).p50
        for seconds in (44.0, 46.0, 48.0, 50.0)
    ]
    assert all(after / before < 1.5 for before, after in pairwise(known))


def test_pods_are_billed_by_their_minimum() -> None:
    """Half an hour is left, an hour is paid for."""
    least = Running(exactly(0.5), 0, 1.0, 0.0, 8.0, bill=lambda hours: 8.0 * max(1.0, hours))
    assert forecast(0.0, least, [], []).usd == exactly(8.0)


def test_the_bill_at_completion_is_spent_plus_the_rest() -> None:
    found = forecast(100.0, running(500), [Range(1, 2, 3)], [exactly(0.5)])
    assert found.usd.p50 == pytest.approx(100 + 5 * 8 + 2)
    assert found.remaining_hours.p50 == pytest.approx(5.5)


def test_a_job_that_is_done_has_spent_what_it_cost() -> None:
    found = forecast(42.0, None, [], [])
    assert found.usd == exactly(42.0)
    assert found.remaining_hours == ZERO
    assert found.breach_probability(42.0) == 0.0
    assert found.breach_probability(41.0) == 1.0


def test_the_breach_probability_is_one_half_at_the_median_and_a_tenth_at_p90() -> None:
    found = forecast(5.0, running(0), [], [])
    assert found.breach_probability(found.usd.p50) == pytest.approx(0.5)
    assert found.breach_probability(found.usd.p90) == pytest.approx(0.1)


@given(low=st.floats(1, 500), more=st.floats(0, 500))
def test_a_higher_limit_is_never_more_likely_to_be_broken(low: float, more: float) -> None:
    found = forecast(5.0, running(100), [], [])
    assert found.breach_probability(low + more) <= found.breach_probability(low)


def test_an_amount_without_doubt_is_above_the_limit_or_not() -> None:
    assert exceeds(exactly(3.0), 2.0) == 1.0
    assert exceeds(exactly(3.0), 4.0) == 0.0


def outlasting(elapsed: float) -> Range:
    """Of an estimate of half an hour to two and a bit, without progress."""
    return remaining_hours(Running(lognormal(1.0, 0.6), 0, 0, elapsed, usd_per_hour=1.0))


def test_a_stage_without_progress_has_what_is_left_of_estimates_that_it_has_not_outlasted() -> None:
    """Drawn many times, of those that last longer than so long."""
    drawn = sorted(math.exp(Random(7 + number).gauss(0, 0.6)) for number in range(20_000))
    for elapsed in (0.3, 1.0, 2.0):
        longer = [hours - elapsed for hours in drawn if hours > elapsed]
        left = outlasting(elapsed)
        for found, share in ((left.p10, 0.1), (left.p50, 0.5), (left.p90, 0.9)):
            assert found == pytest.approx(longer[int(share * len(longer))], rel=0.1, abs=0.01)


def test_a_stage_that_is_long_overdue_is_not_said_to_be_over_and_its_range_stays_wide() -> None:
    """After a minute's estimate it had zero hours left with certainty, for as long as it hung."""
    left = [outlasting(elapsed) for elapsed in (3.0, 5.0, 9.2, 9.4, 50.0, 5000.0)]
    assert all(one.p50 > 0.1 for one in left)
    assert all(one.p90 / one.p10 > 5 for one in left)
    assert [one.p50 for one in left] == sorted(one.p50 for one in left)
    assert all(
        0.04 < one.p50 / elapsed < 0.3 for one, elapsed in zip(left, (3.0, 5.0, 9.2, 9.4, 50.0, 5000.0), strict=True)
    )

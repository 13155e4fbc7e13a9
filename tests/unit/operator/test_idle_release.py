"""Pauses between tries, by a table; and over random tries, that idle time stays below half, falls, and costs no more than is said."""

import random
from datetime import timedelta
from itertools import pairwise

import pytest
from llmtrain_operator.idle_release import lot_of, most_tries, pause

MINUTE, HOUR = 60, 3600
SLACK = 240


def seconds(held: int, deadline: int, tries: int, lot: float = 0.0) -> float:
    return pause(timedelta(seconds=held), timedelta(seconds=deadline), tries, lot).total_seconds()


@pytest.mark.parametrize(
    ("held", "deadline", "tries", "lot", "expected"),
    [
        (34 * MINUTE, 30 * MINUTE, 1, 0.0, 68 * MINUTE),
        (34 * MINUTE, 30 * MINUTE, 2, 0.0, 136 * MINUTE),
        (34 * MINUTE, 30 * MINUTE, 3, 0.0, 192 * MINUTE),
        (34 * MINUTE, 30 * MINUTE, 3, 1.0, 4 * HOUR),
        (34 * MINUTE, 30 * MINUTE, 10**6, 1.0, 4 * HOUR),
        (34 * MINUTE, 30 * MINUTE, 1, 0.5, 68 * MINUTE * 1.125),
        (30 * MINUTE, 30 * MINUTE, 1, 0.0, 68 * MINUTE),
        (10, 10, 1, 0.0, 500),
        (2 * HOUR, 10, 1, 0.0, 192 * MINUTE),
        (6 * HOUR, 5 * HOUR, 1, 0.0, 6 * HOUR),
        (6 * HOUR, 5 * HOUR, 9, 1.0, 7.5 * HOUR),
    ],
)
def test_a_pause_doubles_up_to_four_hours_and_is_never_shorter_than_what_was_held(
    held: int, deadline: int, tries: int, lot: float, expected: float
) -> None:
    assert seconds(held, deadline, tries, lot) == pytest.approx(expected)


def test_lots_are_spread_and_the_same_for_whoever_asks() -> None:
    lots = [lot_of(f"uid-{number}", "Training", 1, 1) for number in range(2000)]
    assert lots == [lot_of(f"uid-{number}", "Training", 1, 1) for number in range(2000)]
    assert all(0 <= lot < 1 for lot in lots)
    tenths = [sum(int(10 * lot) == tenth for lot in lots) for tenth in range(10)]
    assert min(tenths) > 120, "each tenth of the range has its share of 2000"
    assert len({lot_of("uid", "Training", attempt, attempt) for attempt in range(50)}) == 50


@pytest.mark.parametrize("seed", range(40))
def test_idle_time_stays_below_half_falls_and_costs_no_more_than_is_said(seed: int) -> None:
    """Pods that cost 1 a second, given back between the deadline and four minutes after it, for up to two months."""
    rng = random.Random(seed)
    deadline = rng.choice([10, 60, 600, 1800, 1800, 3600, 5400, 20_000, 604_800])
    tries = [rng.randint(deadline, deadline + SLACK) for _ in range(rng.randint(2, 60))]
    spans = []
    clock = 0.0
    for number, held in enumerate(tries, 1):
        again = clock + held + seconds(held, deadline, number, rng.random())
        spans.append((clock, clock + held, again))
        clock = again
    first = spans[0][1]
    for number in range(1, len(spans)):
        ended = spans[number][1]
        idle = sum(end - begin for begin, end, _ in spans[1 : number + 1])
        assert idle <= (ended - first) / 2, "counted from the end of the first try, where it is highest"
        if deadline <= 5400:
            assert idle + first <= ended / 2, "and with it"
    for begin, end, _ in spans:
        for moment in (begin + 1, end, end + 1):
            cost = sum(min(moment, stop) - start for start, stop, _ in spans if start < moment)
            within = timedelta(seconds=moment)
            assert cost <= most_tries(timedelta(seconds=deadline), within) * (deadline + SLACK)


@pytest.mark.parametrize("deadline", [10, 600, 1800, 5400])
def test_the_idle_share_falls_with_each_pause_to_what_four_hours_leave(deadline: int) -> None:
    """Every try held as long as can be, every pause as short: the worst share, after each of 40 pauses."""
    held, idle, clock, shares = deadline + SLACK, 0.0, 0.0, []
    for number in range(1, 41):
        idle, clock = idle + held, clock + held + seconds(held, deadline, number)
        shares.append(idle / clock)
    assert shares[0] == pytest.approx(1 / 3, abs=0.02)
    assert all(later < earlier for earlier, later in pairwise(shares))
    assert shares[-1] < 1.35 * held / (held + 3.2 * HOUR)


def test_a_weekend_of_nothing_but_idle_tries_is_a_sixth_of_its_time() -> None:
    """64 hours, half an hour's deadline: the figure that the manual names."""
    assert most_tries(timedelta(minutes=30), timedelta(hours=64)) == 19

"""Checkpoint intervals and lost time: the reference for a checkpoint of 60 s, a restart of 15 min, 2e-5 failures an hour."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrain.cost.failures import (
    Interruptions,
    daly_interval,
    first_order_slowdown,
    interruptions,
    slowdown,
    young_interval,
)


def reference(accelerators: int) -> Interruptions:
    return interruptions(accelerators, 2e-5, save=60, restart=900)


@pytest.mark.parametrize(
    ("accelerators", "minutes", "half_unit", "overhead"),
    [(64, 306, 3, 0.007), (512, 108, 3, 0.021), (2048, 54, 0.55, 0.049), (16384, 18, 0.5, 0.21)],
)
def test_intervals_and_overheads_are_the_reference(
    accelerators: int, minutes: float, half_unit: float, overhead: float
) -> None:
    """The reference is printed with two digits; half of its last digit is what can be told."""
    events = reference(accelerators)
    assert daly_interval(events) / 60 == pytest.approx(minutes, abs=half_unit)
    assert slowdown(events, daly_interval(events)) - 1 == pytest.approx(
        overhead, abs=0.005 if overhead > 0.1 else 0.0005
    )


def test_hourly_checkpoints_of_eight_accelerators_waste_what_the_reference_says() -> None:
    events = reference(8)
    assert slowdown(events, 3600) - 1 == pytest.approx(0.017, abs=0.0005)
    assert slowdown(events, daly_interval(events)) - 1 == pytest.approx(0.0024, abs=0.0001)


def test_youngs_interval_is_its_closed_form() -> None:
    assert young_interval(Interruptions(50_000, 36, 0)) == pytest.approx(math.sqrt(2 * 36 * 50_000))


@given(accelerators=st.integers(1, 4096), factor=st.floats(0.2, 5).filter(lambda x: abs(x - 1) > 0.05))
def test_no_other_interval_is_better_than_dalys(accelerators: int, factor: float) -> None:
    events = reference(accelerators)
    best = daly_interval(events)
    assert slowdown(events, best) <= slowdown(events, best * factor) + 1e-6


def test_the_first_order_agrees_where_interruptions_are_rare() -> None:
    events = reference(64)
    interval = young_interval(events)
    assert first_order_slowdown(events, interval) == pytest.approx(slowdown(events, interval), abs=1e-4)


def test_saving_that_takes_longer_than_the_mean_time_between_failures_has_an_interval() -> None:
    assert daly_interval(Interruptions(10, 30, 5)) == 10

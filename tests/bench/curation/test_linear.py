"""Seconds of every step over odd texts of 10 KB to 1 MB, minimum of five, and how they grow."""

import math
import time

import pytest

from tests.unit.jobs.curation.odd import STEPS, TEXTS

SIZES = (10_000, 100_000, 1_000_000)
TRIES, MOST_SLOPE, MOST_SECONDS, SOON = 5, 1.2, 1.0, 0.05
"""`SOON`: seconds below which a time says nothing about growth."""


def seconds(step: str, text: str) -> float:
    """CPU seconds, the least of five."""
    found = math.inf
    for _ in range(TRIES):
        start = time.process_time()
        STEPS[step](text)
        found = min(found, time.process_time() - start)
    return found


@pytest.mark.parametrize("step", list(STEPS))
def test_time_is_linear_in_the_text(step: str) -> None:
    seconds(step, "Words that are compiled, # é")
    broken = []
    for name, text in TEXTS.items():
        found = [seconds(step, text(size)) for size in SIZES]
        slope = math.log(found[-1] / found[-2]) / math.log(SIZES[-1] / SIZES[-2])
        shown = ", ".join(f"{value:.4f}" for value in found)
        print(f"{step:18} {name:32} {shown} s, slope {slope:.2f}")
        if found[-1] > MOST_SECONDS or (found[-1] > SOON and slope >= MOST_SLOPE):
            broken.append(name)
    assert not broken

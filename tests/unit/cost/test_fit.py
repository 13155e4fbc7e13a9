"""The prior of the MFU: its numbers are those of the tables, and how far it is off on families left out."""

import math
from statistics import median

import pytest

from llmtrain.cost.fit import accuracy, constant_misses, left_out, published_runs, refit
from llmtrain.cost.mfu import BENCHMARK, CALENDAR, Situation, calendar_mfu
from llmtrain.cost.tables import rows


def test_the_numbers_in_the_code_are_those_of_the_tables() -> None:
    benchmark, calendar = refit()
    for name in ("intercept", "fast", "size", "sequence", "scale"):
        assert getattr(BENCHMARK, name) == pytest.approx(getattr(benchmark, name), abs=1e-5)
    assert CALENDAR.factor == pytest.approx(calendar.factor, abs=1e-4)
    assert CALENDAR.sigma == pytest.approx(calendar.sigma, abs=1e-4)


def test_families_left_out_are_met_within_the_promise() -> None:
    runs = published_runs(rows("published_runs"))
    misses = [miss for miss, _ in left_out(BENCHMARK, runs)]
    found = accuracy(misses, CALENDAR.sigma)
    assert median(math.exp(abs(miss)) for miss in misses) <= 1.35
    assert 0.70 <= found.covered <= 0.92
    assert found.width <= 3.2


def test_the_interval_score_beats_a_constant_mfu_whatever_its_spread() -> None:
    runs = published_runs(rows("published_runs"))
    mine = accuracy([miss for miss, _ in left_out(BENCHMARK, runs)], CALENDAR.sigma).interval_score
    constant = constant_misses(runs)
    assert mine < min(accuracy(constant, sigma / 100).interval_score for sigma in range(0, 101))


def test_a_run_is_never_predicted_from_its_own_family() -> None:
    """Hours of one family ten times as long change the prediction of every other family, but not its own."""
    from dataclasses import replace

    runs = published_runs(rows("published_runs"))
    slower = [replace(run, hours=run.hours * 10) if run.family == "Pythia" else run for run in runs]
    for (before, run), (after, _) in zip(left_out(BENCHMARK, runs), left_out(BENCHMARK, slower), strict=True):
        shift = after - before
        assert shift == pytest.approx(math.log(10)) if run.family == "Pythia" else shift < 0


def test_larger_clusters_and_longer_sequences_lower_the_mfu() -> None:
    at = [Situation(True, 7e9, 2048, 128), Situation(True, 7e9, 2048, 512), Situation(True, 7e9, 8192, 512)]
    found = [calendar_mfu(situation).p50 for situation in at]
    assert found == sorted(found, reverse=True)


def test_p90_over_p10_is_what_the_sigma_says() -> None:
    mfu = calendar_mfu(Situation(False, 7e9, 2048, 64))
    assert math.log(mfu.p90 / mfu.p10) == pytest.approx(2 * 1.2815516 * CALENDAR.sigma)

"""Forecasts against the bills of 200 runs that were made without them: how often the range holds, that it narrows, that it is calm."""

from collections.abc import Iterator
from itertools import pairwise
from statistics import median

import pytest
from llmtrain_operator.billing import format_time
from llmtrain_operator.measuring import measured, note_pace, note_share, share_done, worked_seconds

from llmtrain.api.status import Phases, Stage, StageState, StageStatus
from llmtrain.cost.forecast import Forecast, Running, forecast
from llmtrain.cost.ranges import Range, lognormal
from tests.unit.operator.replays import SPREADS, Look, Replay, replays

RUNS = 200
MARKS = (0.10, 0.25, 0.50, 0.75)
"""Shares of a run's time."""
CALM = 1.5
Seen = list[tuple[Look, Forecast]]


@pytest.fixture(scope="module")
def seen() -> list[tuple[Replay, Seen]]:
    return [(run, list(forecasts(run))) for run in replays(RUNS)]


def forecasts(run: Replay) -> Iterator[tuple[Look, Forecast]]:
    """As the operator makes them, look by look."""
    estimates = {stage: lognormal(hours, SPREADS[stage]) for stage, hours in run.medians.items()}
    stages = {stage: StageStatus(name=stage, state=StageState.RUNNING, attempt=1) for stage in estimates}
    for look in run.looks:
        hear(stages[look.stage], look)
        later = list(estimates)[list(estimates).index(look.stage) + 1 :]
        usd = [estimates[stage].scaled(run.rates[stage]) for stage in later]
        yield (
            look,
            forecast(
                look.usd, running(stages[look.stage], look, estimates), usd, [estimates[stage] for stage in later]
            ),
        )


def hear(stage: StageStatus, look: Look) -> None:
    if look.held_seconds != stage.run_seconds:
        stage.attempt, stage.worked_seconds = stage.attempt + 1, stage.worked_seconds + stage.phases.working
    stage.phases = Phases(placed_time=format_time(look.placed), working=look.told.working_seconds)
    stage.run_seconds, stage.progress = look.held_seconds, look.told
    note_share(stage, look.told)
    note_pace(stage, look.told)


def running(stage: StageStatus, look: Look, estimates: dict[Stage, Range]) -> Running:
    done, elapsed = share_done(stage), worked_seconds(stage, look.now) / 3600
    return Running(estimates[stage.name], done or 0.0, 1.0, elapsed, look.usd_per_hour, measured(stage, look.now))


def at(mark: float, run: Replay, found: Seen) -> Forecast:
    return next(one for look, one in found if look.hours >= mark * run.hours)


@pytest.mark.parametrize("mark", MARKS)
def test_the_final_bill_is_inside_the_range_of_four_runs_in_five(seen: list[tuple[Replay, Seen]], mark: float) -> None:
    inside = [one.usd.p10 <= run.usd <= one.usd.p90 for run, found in seen for one in [at(mark, run, found)]]
    assert 0.72 <= sum(inside) / len(inside) <= 0.88


def test_the_range_narrows(seen: list[tuple[Replay, Seen]]) -> None:
    widths = [
        median(at(mark, run, found).usd.p90 / at(mark, run, found).usd.p10 for run, found in seen) for mark in MARKS
    ]
    assert all(before > after for before, after in pairwise(widths))


def test_the_median_leaps_only_where_something_has_happened(seen: list[tuple[Replay, Seen]]) -> None:
    leaps = [
        (look.stage, look.hours / run.hours, before.usd.p50, after.usd.p50)
        for run, found in seen
        for (_, before), (look, after) in pairwise(found)
        if not look.disturbed and not 1 / CALM <= after.usd.p50 / before.usd.p50 <= CALM
    ]
    assert leaps == []


def test_the_runs_differ_from_their_estimates(seen: list[tuple[Replay, Seen]]) -> None:
    """Of a range as narrow as the last one, put around the first median, few bills are inside."""
    narrow = [
        one.usd.p50 / 1.04 <= run.usd <= one.usd.p50 * 1.04 for run, found in seen for one in [at(MARKS[0], run, found)]
    ]
    assert sum(narrow) / len(narrow) < 0.5

"""Forecasts against the bills of 200 runs that were made without them: how often the range holds, that it narrows, that it is calm.

188 are out of a generator that shares no code with the forecast, twelve were recorded on the one-node cluster.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import pytest
from llmtrain_operator.billing import format_time
from llmtrain_operator.measuring import measured, note_pace, note_share, share_done, worked_seconds

from llmtrain.api.status import Phases, Stage, StageState, StageStatus
from llmtrain.cost.forecast import Forecast, Running, forecast
from llmtrain.cost.ranges import Range, lognormal
from tests.unit.operator.recorded import Recording, recordings, told
from tests.unit.operator.replays import SPREADS, Look, Replay, replays

GENERATED, RECORDED = 188, 12
MARKS = (0.10, 0.25, 0.50, 0.75)
"""Shares of a run's time."""
CALM = 1.5


@dataclass(frozen=True)
class Seen:
    """What was forecast at a look, US dollars. `at`: share of the run's time that was over."""

    at: float
    usd: Range
    disturbed: bool
    """A stop, loss, retry, stage or manifest change lies between the look before and this one."""


@dataclass(frozen=True)
class Run:
    """A run with what was forecast of it, and its bill."""

    name: str
    looks: list[Seen]
    usd: float

    def at(self, mark: float) -> Range:
        """The first forecast from that share of the run on."""
        return next(look.usd for look in self.looks if look.at >= mark)

    def inside(self, mark: float) -> bool:
        """Whether the range of then held."""
        return self.at(mark).p10 <= self.usd <= self.at(mark).p90

    def leaps(self) -> list[tuple[str, float, float, float]]:
        """Where nothing has happened and the median moved too far all the same."""
        return [
            (self.name, round(after.at, 3), before.usd.p50, after.usd.p50)
            for before, after in pairwise(self.looks)
            if not after.disturbed and not 1 / CALM <= after.usd.p50 / before.usd.p50 <= CALM
        ]


@pytest.fixture(scope="module")
def recorded() -> list[Run]:
    return [recorded_run(one) for one in recordings()]


@pytest.fixture(scope="module")
def runs(recorded: list[Run]) -> list[Run]:
    return [*(generated_run(f"generated {number}", run) for number, run in enumerate(replays(GENERATED))), *recorded]


def recorded_run(run: Recording) -> Run:
    found, whole = list(told(run)), (run.end - run.begin).total_seconds()
    situations = [None, *(one.situation for one in found)]
    looks = [
        Seen(
            (one.now - run.begin).total_seconds() / whole,
            Range(float(one.usd.p10), float(one.usd.p50), float(one.usd.p90)),
            one.situation != before,
        )
        for one, before in zip(found, situations, strict=False)
    ]
    return Run(run.name, looks, run.usd)


def generated_run(name: str, run: Replay) -> Run:
    looks = [Seen(look.hours / run.hours, one.usd, look.disturbed) for look, one in forecasts(run)]
    return Run(name, looks, run.usd)


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


def test_two_hundred_runs_are_replayed_twelve_of_them_recorded(runs: list[Run], recorded: list[Run]) -> None:
    assert len(runs) == GENERATED + RECORDED == 200
    assert len({run.name for run in recorded}) == RECORDED


@pytest.mark.parametrize("mark", MARKS)
def test_the_final_bill_is_inside_the_range_of_four_runs_in_five(runs: list[Run], mark: float) -> None:
    inside = [run.inside(mark) for run in runs]
    assert 0.72 <= sum(inside) / len(inside) <= 0.88


def test_the_range_narrows(runs: list[Run]) -> None:
    widths = [median(run.at(mark).p90 / run.at(mark).p10 for run in runs) for mark in MARKS]
    assert all(before > after for before, after in pairwise(widths))


def test_the_median_leaps_only_where_something_has_happened(runs: list[Run]) -> None:
    assert [leap for run in runs for leap in run.leaps()] == []


def test_the_runs_differ_from_their_estimates(runs: list[Run]) -> None:
    """Of a range as narrow as the last one, put around the first median, few bills are inside."""
    narrow = [run.at(MARKS[0]).p50 / 1.04 <= run.usd <= run.at(MARKS[0]).p50 * 1.04 for run in runs]
    assert sum(narrow) / len(narrow) < 0.5

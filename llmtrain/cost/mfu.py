"""How much of its peak a cluster will reach over the days of a run, before anything was measured.

Calendar MFU = MFU of a measured benchmark of this class of chip, model size, sequence and scale x one factor from
benchmark to calendar. The benchmark part is a regression over 209 measured rows (`mfu_benchmarks.csv`); the factor
and its spread come from the published runs (`published_runs.csv`, rows marked `use_in_fit`). More predictors were
tried and gained nothing on families that were left out. `llmtrain.cost.fit` recomputes every number here.
"""

import math
from dataclasses import dataclass

from llmtrain.cost.ranges import Range, lognormal

REFERENCE_PARAMETERS, REFERENCE_SEQUENCE, REFERENCE_SCALE = 7e9, 2048.0, 128.0
MEASURED_PARAMETERS = (1.25e8, 7e10)
MEASURED_SEQUENCE = (512.0, 65536.0)
MEASURED_SCALE = (128.0, 512.0)
UNKNOWN_SCALE = 512


@dataclass(frozen=True)
class Benchmark:
    """ln MFU = intercept + fast + size ln(N / 7e9) + sequence ln(s / 2048) + scale ln(G / 128)."""

    intercept: float
    fast: float
    size: float
    sequence: float
    scale: float


@dataclass(frozen=True)
class Calendar:
    """Factor from benchmark to calendar, and the standard deviation of the logarithm of what is left."""

    factor: float
    sigma: float


@dataclass(frozen=True)
class Situation:
    """What the MFU depends on."""

    fast: bool
    parameters: float
    sequence: float
    accelerators: int


def benchmark_mfu(benchmark: Benchmark, at: Situation) -> float:
    """MFU (causal attention) of a short measured run; outside the measured sizes that of the nearest."""
    size = _within(at.parameters, MEASURED_PARAMETERS) / REFERENCE_PARAMETERS
    sequence = _within(at.sequence, MEASURED_SEQUENCE) / REFERENCE_SEQUENCE
    scale = _within(at.accelerators, MEASURED_SCALE) / REFERENCE_SCALE
    return math.exp(
        benchmark.intercept
        + benchmark.fast * at.fast
        + benchmark.size * math.log(size)
        + benchmark.sequence * math.log(sequence)
        + benchmark.scale * math.log(scale)
    )


def calendar_mfu(at: Situation) -> Range:
    """MFU over whole days, restarts and evaluations included; p10 is the slow end."""
    return lognormal(benchmark_mfu(BENCHMARK, at) * CALENDAR.factor, CALENDAR.sigma)


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


BENCHMARK = Benchmark(intercept=-0.68788, fast=-0.28825, size=0.04187, sequence=-0.13400, scale=-0.04499)
CALENDAR = Calendar(factor=0.79838, sigma=0.34300)

"""How much of its peak a cluster will reach over the days of a run, before anything was measured.

Calendar MFU = MFU of a measured benchmark of this class of chip, model size, sequence and scale x what published runs
did otherwise: a factor for the calendar, a loss for small models that are spread over many accelerators, a gain for a
single server, and a known loss where the backward pass computes activations again. The benchmark part is a regression
over 209 measured rows (`mfu_benchmarks.csv`); the rest and its spread come from the published runs
(`published_runs.csv`, rows marked `use_in_fit`). Year, class of chip and sequence were tried beside these and gained
nothing on families that were left out. `llmtrain.cost.fit` recomputes every number here.
"""

import math
from dataclasses import dataclass

from llmtrain.cost.ranges import Range, lognormal

REFERENCE_PARAMETERS, REFERENCE_SEQUENCE, REFERENCE_SCALE = 7e9, 2048.0, 128.0
MEASURED_PARAMETERS = (1.25e8, 7e10)
MEASURED_SEQUENCE = (512.0, 65536.0)
MEASURED_SCALE = (128.0, 512.0)
UNKNOWN_SCALE = 512
ONE_SERVER = 8.0
"""Accelerators without a network between them."""
RECOMPUTE_COST = 1 / 3
"""A forward pass more on top of forward and backward, which cost three."""


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
    """ln(calendar / benchmark) = ln factor + small ln(N / 7e9) (1 - few) + server few; sigma: of what is left.

    The logarithm of the size counts below 7e9 only. `few` is 1 in one server and 0 from 128 accelerators on.
    """

    factor: float
    small: float
    server: float
    sigma: float


@dataclass(frozen=True)
class Situation:
    """What the MFU depends on. `accelerators`: 0 for CPUs. `recomputed`: share of the blocks computed twice."""

    fast: bool
    parameters: float
    sequence: float
    accelerators: int
    recomputed: float = 0.0


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


def few(at: Situation) -> float:
    """1 in one server, 0 from the smallest benchmarked scale on, between them by the logarithm."""
    span = math.log(MEASURED_SCALE[0] / ONE_SERVER)
    return _within(math.log(MEASURED_SCALE[0] / max(1, at.accelerators)) / span, (0.0, 1.0))


def smallness(at: Situation) -> float:
    """ln(N / 7e9) where that is negative, as far as the model is spread over more than a server."""
    size = _within(at.parameters, MEASURED_PARAMETERS) / REFERENCE_PARAMETERS
    return min(0.0, math.log(size)) * (1 - few(at))


def recompute_factor(at: Situation) -> float:
    """Share of the arithmetic that is no recomputation."""
    return 1 / (1 + RECOMPUTE_COST * at.recomputed)


def expected_mfu(benchmark: Benchmark, calendar: Calendar, at: Situation) -> float:
    """The median. Published runs say nothing of CPUs: these get the factor alone."""
    usual = benchmark_mfu(benchmark, at) * calendar.factor * recompute_factor(at)
    if at.accelerators == 0:
        return usual
    return usual * math.exp(calendar.small * smallness(at) + calendar.server * few(at))


def calendar_mfu(at: Situation) -> Range:
    """MFU over whole days, restarts and evaluations included; p10 is the slow end."""
    return lognormal(expected_mfu(BENCHMARK, CALENDAR, at), CALENDAR.sigma)


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


BENCHMARK = Benchmark(intercept=-0.68788, fast=-0.28825, size=0.04187, sequence=-0.13400, scale=-0.04499)
CALENDAR = Calendar(factor=0.86489, small=0.17359, server=0.33192, sigma=0.29111)

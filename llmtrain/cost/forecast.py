"""The bill at completion while the run goes on: what is spent, and what is left by the speed that was measured.

The prior of the speed and its measurement are both lognormal; their product is again one, weighted by precision. One
minute of steps says little of the hours to come, an hour says nearly all that steady speed can say; restarts and
evaluations between now and the end stay in doubt.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmtrain.cost.ranges import ZERO, Range, exactly, exceeds, lognormal, total

MINUTE_SIGMA = 0.30
"""Spread of the speed of one minute of steps against that of the run: assumption."""
CALENDAR_SIGMA = 0.06
"""What steady speed leaves open: the ratio calendar to steady was 0.84 to 0.98 in published runs."""
CALENDAR_SHARE = 0.92
"""Middle of those ratios."""


@dataclass(frozen=True)
class Measurement:
    """Speed of the running stage: units per second while it stepped, and for how many seconds that was seen."""

    per_second: float
    seconds: float


@dataclass(frozen=True)
class Running:
    """The stage at work. `estimate`: its hours by the estimate; `done` and `total` in units (tokens)."""

    estimate_hours: Range
    done: float
    total: float
    elapsed_hours: float
    usd_per_hour: float
    measured: Measurement | None = None


@dataclass(frozen=True)
class Forecast:
    """At completion of the whole job."""

    usd: Range
    remaining_hours: Range
    remaining_usd: Range

    def breach_probability(self, limit_usd: float) -> float:
        """Probability that the bill ends above the limit; certain when more than that is spent."""
        spent = self.usd.p50 - self.remaining_usd.p50
        if spent >= limit_usd:
            return float(spent > limit_usd or self.remaining_usd.p50 > 0)
        return exceeds(self.remaining_usd, limit_usd - spent)


def forecast(
    spent_usd: float, running: Running | None, later_usd: Sequence[Range], later_hours: Sequence[Range]
) -> Forecast:
    """From the bill so far (settled and provisional), the running stage, and the estimates of stages not begun."""
    left = remaining_hours(running) if running else ZERO
    left_usd = left.scaled(running.usd_per_hour) if running else ZERO
    remaining = total([left_usd, *later_usd])
    return Forecast(exactly(spent_usd) + remaining, total([left, *later_hours]), remaining)


def remaining_hours(running: Running) -> Range:
    """Hours until the running stage is done; p10 is the short end."""
    if running.total <= 0:
        return _minus(running.estimate_hours, running.elapsed_hours)
    left = max(0.0, 1 - running.done / running.total)
    prior = running.estimate_hours.scaled(left)
    if running.measured is None or running.measured.per_second <= 0 or running.measured.seconds <= 0:
        return prior
    return _narrowed(
        prior, (running.total - running.done) / running.measured.per_second / 3600, running.measured.seconds
    )


def _narrowed(prior: Range, steady_hours: float, seen_seconds: float) -> Range:
    """Posterior of the hours left, given the hours that steady speed would take."""
    if steady_hours <= 0:
        return ZERO
    measured_median = steady_hours / CALENDAR_SHARE
    measured_variance = CALENDAR_SIGMA**2 + MINUTE_SIGMA**2 * 60 / seen_seconds
    prior_variance = prior.sigma**2
    if prior.p50 <= 0 or prior_variance == 0:
        return lognormal(measured_median, math.sqrt(measured_variance))
    weight = measured_variance / (prior_variance + measured_variance)
    median = math.exp(weight * math.log(prior.p50) + (1 - weight) * math.log(measured_median))
    return lognormal(median, math.sqrt(weight * prior_variance))


def _minus(hours: Range, elapsed: float) -> Range:
    """What is left of an estimate after some time; a stage without progress that overruns may end any moment."""
    return hours.map(lambda value: max(0.0, value - elapsed))

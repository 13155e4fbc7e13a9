"""The bill at completion while the run goes on: what is spent, and what is left by the speed that was measured.

The prior of the speed and its measurement are both lognormal; their product is again one, weighted by precision. One
minute of steps says little of the hours to come, an hour says nearly all that steady speed can say; restarts and
evaluations between now and the end stay in doubt. A prior that the measurement contradicts counts for less the more it does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from llmtrain.cost.ranges import Z90, ZERO, Range, exactly, exceeds, lognormal, total

MINUTE_SIGMA = 0.30
"""Spread of the speed of one minute of steps against that of the run: assumption."""
CALENDAR_SIGMA = 0.06
"""What steady speed leaves open: the ratio calendar to steady was 0.84 to 0.98 in published runs."""
CALENDAR_SHARE = 0.92
"""Middle of those ratios."""
SUREST = 0.9999
"""Beyond this part of its estimate a stage has outlasted it, and time left grows with the time that it took."""


@dataclass(frozen=True)
class Measurement:
    """Speed of the running stage: units per second, and in how many seconds that was seen.

    `calendar`: share of its time that is spent so; 1 where whatever stands still is in the seconds. `spread`: doubt in the time
    left because parts of the work differ, standard deviation of the logarithm.
    """

    per_second: float
    seconds: float
    calendar: float = CALENDAR_SHARE
    spread: float = 0.0

    @property
    def variance(self) -> float:
        """Of the logarithm of the time left."""
        return CALENDAR_SIGMA**2 + MINUTE_SIGMA**2 * 60 / self.seconds + self.spread**2


@dataclass(frozen=True)
class Running:
    """The stage at work. `estimate_hours`: its hours by the estimate, of them `start_hours` before the work begins; `done` and `total` in
    units (tokens).

    `bill`: US dollars that its pods will owe beyond what is spent after so many hours, by minimums and increments; without it
    every hour costs `usd_per_hour`.
    """

    estimate_hours: Range
    done: float
    total: float
    elapsed_hours: float
    usd_per_hour: float
    measured: Measurement | None = None
    bill: Callable[[float], float] | None = None
    start_hours: Range = ZERO

    @property
    def work_hours(self) -> Range:
        """The estimate less the start, which is over once anything is done."""
        whole, start = self.estimate_hours, self.start_hours
        return Range(whole.p10 - start.p10, whole.p50 - start.p50, whole.p90 - start.p90)


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
    left_usd = _billed(running, left) if running else ZERO
    remaining = total([left_usd, *later_usd])
    return Forecast(exactly(spent_usd) + remaining, total([left, *later_hours]), remaining)


def _billed(running: Running, left: Range) -> Range:
    return left.map(running.bill) if running.bill else left.scaled(running.usd_per_hour)


def remaining_hours(running: Running) -> Range:
    """Hours until the running stage is done; p10 is the short end."""
    if running.total <= 0 or (running.done <= 0 and running.measured is None):
        return _outlasting(running.estimate_hours, running.elapsed_hours)
    left = max(0.0, 1 - running.done / running.total)
    prior = running.work_hours.scaled(left)
    seen = running.measured or _measured_by_share(running)
    if seen is None or seen.per_second <= 0 or seen.seconds <= 0:
        return prior
    return _narrowed(prior, (running.total - running.done) / seen.per_second / 3600, seen)


def _measured_by_share(running: Running) -> Measurement | None:
    """What is done over the time that it took is a speed as well."""
    seconds = running.elapsed_hours * 3600
    return Measurement(running.done / seconds, seconds, calendar=1.0) if running.done > 0 and seconds > 0 else None


def _narrowed(prior: Range, hours: float, seen: Measurement) -> Range:
    """Posterior of the hours left, given the hours that the measured speed would take."""
    if hours <= 0:
        return ZERO
    median = hours / seen.calendar
    if prior.p50 <= 0 or prior.sigma == 0:
        return lognormal(median, math.sqrt(seen.variance))
    believed = _believed_variance(prior, median, seen.variance)
    weight = seen.variance / (believed + seen.variance)
    middle = math.exp(weight * math.log(prior.p50) + (1 - weight) * math.log(median))
    return lognormal(middle, math.sqrt(weight * believed))


def _believed_variance(prior: Range, median: float, variance: float) -> float:
    """The prior's; where a measurement lies outside p10 to p90, up to what would just have it inside, the more the better it knows."""
    own = prior.sigma**2
    inside = (math.log(median / prior.p50) / Z90) ** 2
    return own + max(0.0, inside - own) * max(0.0, 1 - variance / own)


def _outlasting(hours: Range, elapsed: float) -> Range:
    """What is left of an estimate that nothing is known of but that it has lasted so long: of a lognormal, the part beyond.

    The longer a stage is overdue, the longer it may still take: it is never said to be over before it is.
    """
    if elapsed <= 0 or hours.p50 <= 0 or hours.sigma == 0:
        return hours.map(lambda value: max(0.0, value - elapsed))
    normal = NormalDist(math.log(hours.p50), hours.sigma)
    beyond = min(SUREST, normal.cdf(math.log(elapsed)))
    p10, p50, p90 = (math.exp(normal.inv_cdf(beyond + share * (1 - beyond))) for share in (0.1, 0.5, 0.9))
    furthest = max(elapsed, math.exp(normal.inv_cdf(SUREST))) / math.exp(normal.inv_cdf(SUREST))
    return Range(p10 * furthest - elapsed, p50 * furthest - elapsed, p90 * furthest - elapsed)

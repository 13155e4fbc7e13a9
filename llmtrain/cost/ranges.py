"""Quantities that are not known exactly: p10, p50 and p90.

Sums add the quantiles one by one, as if all parts were off in the same direction: the table adds up, and the range
of a sum is never too narrow.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist

Z90 = NormalDist().inv_cdf(0.9)
"""Standard deviations from the median to p90: 1.2816."""


@dataclass(frozen=True)
class Range:
    """Three quantiles of one quantity, in its unit."""

    p10: float
    p50: float
    p90: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.p10 + other.p10, self.p50 + other.p50, self.p90 + other.p90)

    def scaled(self, factor: float) -> "Range":
        """Times a factor that is known."""
        return self.map(lambda value: value * factor)

    def map(self, increasing: Callable[[float], float]) -> "Range":
        """An increasing function of the quantity."""
        return Range(increasing(self.p10), increasing(self.p50), increasing(self.p90))

    @property
    def sigma(self) -> float:
        """Spread of the lognormal through p50 and p90; 0 for a known quantity."""
        return math.log(self.p90 / self.p50) / Z90 if self.p50 > 0 else 0.0


ZERO = Range(0.0, 0.0, 0.0)


def exactly(value: float) -> Range:
    """A quantity without doubt."""
    return Range(value, value, value)


def lognormal(median: float, sigma: float) -> Range:
    """The quantiles of a lognormal; `sigma` is the standard deviation of the logarithm."""
    spread = math.exp(Z90 * sigma)
    return Range(median / spread, median, median * spread)


def total(parts: Iterable[Range]) -> Range:
    """Sum, quantile by quantile."""
    return sum(parts, ZERO)


def exceeds(amount: Range, limit: float) -> float:
    """Probability that a quantity, lognormal through its p50 and p90, is above `limit`."""
    if limit <= 0 or amount.p50 <= 0:
        return float(amount.p50 > limit)
    if amount.sigma == 0:
        return float(amount.p50 > limit)
    return 1 - NormalDist().cdf(math.log(limit / amount.p50) / amount.sigma)

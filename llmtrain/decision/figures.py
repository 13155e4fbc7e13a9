"""Numbers with a range, a source and a date; every one of them may be set in the decision's file."""

from dataclasses import dataclass
from math import inf

from llmtrain.cost.ranges import Z90

BOUNDS = {
    "share": (0.0, 1.0),
    "shareAboveZero": (1e-6, 1.0),
    "shareBelowOne": (0.0, 0.95),
    "usd": (0.0, 1e12),
    "usdAboveZero": (0.01, 1e12),
    "people": (0.0, 1e5),
    "months": (0.0, 120.0),
    "count": (0.0, 1e9),
    "hours": (0.0, 1e12),
    "rate": (1.0, 1e12),
    "ratio": (1.0, 1000.0),
    "kw": (1e-3, 100.0),
    "tokens": (0.0, 1e18),
    "accelerators": (1.0, 1e6),
    "number": (0.0, inf),
}
"""What is allowed, by unit; both ends included."""


@dataclass(frozen=True)
class Figure:
    """One number: `low`, `value` and `high` are its p10, p50 and p90."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str
    date: str

    @property
    def certain(self) -> bool:
        """Whether it has no range."""
        return self.low == self.value == self.high

    def at(self, deviations: float) -> float:
        """The value so many standard deviations from the median, within what the unit allows.

        Lognormal on either side, with a spread of its own; linear where a side ends at zero.
        """
        end = self.high if deviations >= 0 else self.low
        share = abs(deviations) / Z90
        if self.value > 0 and end > 0:
            drawn = self.value * (end / self.value) ** share
        else:
            drawn = self.value + (end - self.value) * share
        least, most = BOUNDS[self.unit]
        return float(min(max(drawn, least), most))

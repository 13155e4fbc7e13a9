"""When a checkpoint is due.

Auto: the interval that loses least is sqrt(2 x cost of a save x mean time between failures) (Young 1974); Daly's (2006,
eq. 37) higher-order form is used where the cost is below twice that mean time.
"""

import math
from dataclasses import dataclass

FAILURES_PER_PROCESS_HOUR = 419 / (54 * 24 * 16384)
"""Unexpected interruptions of Llama 3's pre-training: 419 in 54 days on 16,384 GPUs (Grattafiori et al. 2024, sec. 3.3.4)."""
LEAST_SECONDS, MOST_SECONDS = 30.0, 7200.0


def best_interval(save_seconds: float, mean_seconds_between_failures: float) -> float:
    """Seconds of work between two saves; raises ValueError for a rate or cost that is not above 0."""
    cost, mean = save_seconds, mean_seconds_between_failures
    if cost <= 0 or mean <= 0:
        raise ValueError("cost of a save and time between failures must be above 0")
    if cost >= 2 * mean:
        return mean
    ratio = cost / (2 * mean)
    return math.sqrt(2 * cost * mean) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost


def mean_between_failures(processes: int, failures: int, hours: float) -> float:
    """Seconds between failures of the whole group: the published rate as a prior of one failure, then what was seen."""
    prior_hours = 1 / (FAILURES_PER_PROCESS_HOUR * processes)
    return 3600 * (prior_hours + hours) / (1 + failures)


@dataclass
class Interval:
    """Exactly one of `seconds`, `steps` and auto (both None)."""

    seconds: float | None = None
    steps: int | None = None
    processes: int = 1
    failures: int = 0
    save_seconds: float = 0.0
    """Measured: how long the steps stood still, or would have, for the last save."""

    def is_due(self, step: int, seconds_since: float, hours: float) -> bool:
        """Whether to save after `step` (counted from 1); `hours` of this run so far."""
        if self.steps is not None:
            return step % self.steps == 0
        return seconds_since >= (self.seconds if self.seconds is not None else self.automatic(hours))

    def automatic(self, hours: float) -> float:
        """The best interval by what is measured so far, bounded."""
        if self.save_seconds <= 0:
            return LEAST_SECONDS
        found = best_interval(self.save_seconds, mean_between_failures(self.processes, self.failures, hours))
        return min(MOST_SECONDS, max(LEAST_SECONDS, found))

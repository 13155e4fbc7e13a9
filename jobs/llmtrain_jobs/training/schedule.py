"""The learning rate as a function of tokens seen.

Warm-up is linear. Cosine down to a share of the peak: Radford et al. 2018, Hoffmann et al. 2022; warm-up, stable, decay:
Hu et al. 2024 (MiniCPM), its linear decay as in Hägele et al. 2024; inverse square root: Vaswani et al. 2017 and Zhai et
al. 2022; the square-root fall of an anneal: 1 - sqrt(x), Hägele et al. 2024.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from llmtrain.api.training import Anneal, Schedule

Shape = Callable[[float], float]
"""From progress 0..1 to what is left of the fall, 1..0."""

FALLS: dict[Anneal, Shape] = {
    Anneal.LINEAR: lambda x: 1 - x,
    Anneal.COSINE: lambda x: 0.5 * (1 + math.cos(math.pi * x)),
    Anneal.SQUARE_ROOT: lambda x: 1 - math.sqrt(x),
}


@dataclass(frozen=True)
class PhaseRate:
    """An annealing phase: from tokens `start` to `end` the rate falls to `final_share` of the peak."""

    start: int
    end: int
    anneal: Anneal
    final_share: float


@dataclass(frozen=True)
class RatePlan:
    """Multiplier of the peak rate, by tokens seen."""

    schedule: Schedule
    warmup: int
    decay: int
    final_share: float
    horizon: int
    """Tokens at which the schedule ends: the start of the first annealing phase, or the end."""
    anneals: tuple[PhaseRate, ...] = ()

    @property
    def fall(self) -> int:
        """Tokens over which a schedule falls at its end, after a rate that was stable."""
        return (self.decay or self.horizon // 5) if self.schedule is Schedule.WARMUP_STABLE_DECAY else 0

    def factor(self, seen: int) -> float:
        """Multiplier for the step that starts after `seen` tokens, 0 to 1."""
        for phase in self.anneals:
            if phase.start <= seen < phase.end:
                first = self.base(phase.start)
                left = FALLS[phase.anneal]((seen - phase.start) / (phase.end - phase.start))
                return phase.final_share + (first - phase.final_share) * left
        return self.base(seen)

    def base(self, seen: int) -> float:
        """The schedule without anneals."""
        if seen < self.warmup:
            return (seen + 1) / self.warmup
        if self.schedule is Schedule.INVERSE_SQUARE_ROOT:
            return math.sqrt(max(1, self.warmup) / max(1, seen, self.warmup))
        return self.final_share + (1 - self.final_share) * self._left(seen)

    def _left(self, seen: int) -> float:
        """What is left of the fall from 1 to `final_share`."""
        progress = min(1.0, (seen - self.warmup) / max(1, self.horizon - self.warmup))
        if self.schedule is Schedule.COSINE:
            return FALLS[Anneal.COSINE](progress)
        if self.schedule is Schedule.LINEAR:
            return 1 - progress
        if self.schedule is Schedule.WARMUP_STABLE_DECAY:
            return min(1.0, max(0.0, (self.horizon - seen) / max(1, self.fall)))
        return 1.0

"""Time lost to interruptions, and how often a checkpoint pays (Young 1974, Daly 2006)."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Interruptions:
    """Seconds: mean time between interruptions, to write a checkpoint, to be back at work."""

    mean_between: float
    save: float
    restart: float


def interruptions(accelerators: int, per_accelerator_hour: float, save: float, restart: float) -> Interruptions:
    """Of a whole cluster: any accelerator that fails interrupts all."""
    return Interruptions(3600 / (per_accelerator_hour * accelerators), save, restart)


def young_interval(events: Interruptions) -> float:
    """Seconds of work between checkpoints, first order."""
    return math.sqrt(2 * events.save * events.mean_between)


def daly_interval(events: Interruptions) -> float:
    """Seconds of work between checkpoints, higher order; where saving takes very long, the mean itself."""
    if events.save >= 2 * events.mean_between:
        return events.mean_between
    x = math.sqrt(events.save / (2 * events.mean_between))
    return young_interval(events) * (1 + x / 3 + x * x / 9) - events.save


def slowdown(events: Interruptions, interval: float) -> float:
    """Expected time over the time without any interruption or checkpoint [Daly 2006, equation 20]."""
    mean = events.mean_between
    return mean * math.exp(events.restart / mean) * math.expm1((interval + events.save) / mean) / interval


def first_order_slowdown(events: Interruptions, interval: float) -> float:
    """The same where interruptions are rare."""
    return 1 + events.save / interval + (interval / 2 + events.restart) / events.mean_between

"""Which source the next window comes from: the one furthest behind its share, so that shares hold at every point.

Integers throughout: the order depends on no rounding, no number of workers and no seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

UNITS = 10**9


def integer_weights(weights: Sequence[Decimal]) -> tuple[int, ...]:
    """Weights as integers that add up to UNITS, by largest remainders. Raises ValueError where all are zero."""
    total = sum(weights)
    if total <= 0:
        raise ValueError("at least one weight must be above 0")
    exact = [weight * UNITS / total for weight in weights]
    floors = [int(value) for value in exact]
    order = sorted(range(len(weights)), key=lambda index: (floors[index] - exact[index], index))
    for index in order[: UNITS - sum(floors)]:
        floors[index] += 1
    return tuple(floors)


@dataclass
class Cursors:
    """Position in the data. `drawn` of each source over all phases, `in_phase` of each source in the present phase."""

    drawn: list[int]
    phase: int = 0
    in_phase: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """A new phase starts its own count."""
        self.in_phase = self.in_phase or [0] * len(self.drawn)

    def copy(self) -> "Cursors":
        """Another one at the same position."""
        return Cursors(list(self.drawn), self.phase, list(self.in_phase))

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"drawn": list(self.drawn), "phase": self.phase, "in_phase": list(self.in_phase)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Cursors":
        """From a checkpoint."""
        return cls([int(n) for n in raw["drawn"]], int(raw["phase"]), [int(n) for n in raw["in_phase"]])


def draw(cursors: Cursors, phase: int, weights: Sequence[int], count: int) -> list[tuple[int, int]]:
    """The next `count` (source, cursor) of a phase; moves `cursors` on.

    Largest deficit first: after n draws of a phase each source has been drawn n x weight times, give or take a few, for
    every n. Tijdeman (1980) shows that within one is possible; this simpler rule is what was tested.
    """
    if phase != cursors.phase:
        cursors.phase, cursors.in_phase = phase, [0] * len(cursors.drawn)
    chosen = []
    made = sum(cursors.in_phase)
    for number in range(made + 1, made + count + 1):
        behind = [weight * number - done * UNITS for weight, done in zip(weights, cursors.in_phase, strict=True)]
        source = behind.index(max(behind))
        chosen.append((source, cursors.drawn[source]))
        cursors.drawn[source] += 1
        cursors.in_phase[source] += 1
    return chosen

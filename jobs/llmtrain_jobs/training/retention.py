"""Which checkpoints stay: the newest few, and those that are milestones. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Retention:
    """`last` newest regular ones, the newest of all, and every one whose step is a multiple of `every` (0: none).

    One that was saved because somebody asked to stop is not regular: it must not push out what a roll-back goes to.
    """

    last: int
    every: int = 0

    def kept(self, regular: Iterable[int], others: Iterable[int]) -> set[int]:
        """Steps that stay, of complete checkpoints."""
        ordered, chance = sorted(set(regular)), set(others)
        steps = set(ordered) | chance
        milestones = {step for step in steps if self.every and step > 0 and step % self.every == 0}
        return set(ordered[-self.last :]) | milestones | set(sorted(steps)[-1:])

"""How many workers train together while some are missing: rules without IO and without a clock.

Workers that are there are paid for whether they train or not, so each rule weighs seconds in which paid workers stand
still. A change of the group costs a save and a restart of everybody; both are measured.
"""

from dataclasses import dataclass
from enum import StrEnum

from llmtrain.api.elastic import Sizes


class Verdict(StrEnum):
    """What follows."""

    WAIT = "Wait"
    START = "Start"
    KEEP = "Keep"
    GROW = "Grow"
    GIVE_UP = "GiveUp"


@dataclass(frozen=True)
class Choice:
    """`workers` of the group that starts, or that the running one should become."""

    verdict: Verdict
    workers: int = 0


@dataclass(frozen=True)
class Patience:
    """Seconds that enough workers wait for more, and that too few wait for enough."""

    for_more: float
    for_enough: float


def start_or_wait(sizes: Sizes, alive: int, expected: int, waited: float, patience: Patience) -> Choice:
    """No group runs. `expected`: workers that are there or may soon be; `waited` seconds for them so far."""
    fitting = sizes.fitting(alive)
    if not fitting:
        return Choice(Verdict.GIVE_UP if waited >= patience.for_enough else Verdict.WAIT)
    hoped = sizes.fitting(max(alive, expected))
    if hoped != fitting and waited < patience.for_more:
        return Choice(Verdict.WAIT)
    return Choice(Verdict.START, fitting)


@dataclass(frozen=True)
class Running:
    """A group at work: its workers, and seconds: of training that are left at its speed, that workers which would make it
    faster have been idle for, and that a change costs everybody."""

    workers: int
    left: float
    idle: float
    cost: float


def keep_or_grow(sizes: Sizes, running: Running, alive: int) -> Choice:
    """A group runs. It grows once its idle workers have cost as much as the change will, if the change still pays.

    So at most twice the least is spent whenever and however often workers come, and several that come one after the
    other are taken together.
    """
    fitting = sizes.fitting(alive)
    if fitting <= running.workers:
        return Choice(Verdict.KEEP, running.workers)
    gain = running.left * (1 - sizes.time_ratio(fitting, running.workers))
    spent = running.idle * (fitting - running.workers)
    if gain <= running.cost or spent < running.cost * fitting:
        return Choice(Verdict.KEEP, running.workers)
    return Choice(Verdict.GROW, fitting)


def ranges(indices: list[int]) -> str:
    """Sorted numbers in short: "0-3,5"."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)

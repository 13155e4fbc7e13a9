"""Acts that may come in any order are carried out side by side.

Pods are created so once the first of them is: what the apiserver refuses for one it refuses for the next three hundred,
and a quota then costs one request, not all. What takes a cluster down waits for nothing.
"""

import asyncio
import math
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from llmtrain_operator.observation import (
    Action,
    CreateEvaluator,
    CreateHead,
    CreateWorker,
    DeleteObjects,
    DeletePod,
    ReleasePod,
    ShortenPod,
)

LARGEST = 25
"""Half of what the operator may have under way at once, so that a large job leaves room for others."""
SLOW_TIMES = 3
CREATING = (CreateHead, CreateWorker, CreateEvaluator)
ENDING = (DeletePod, ShortenPod, DeleteObjects)
RELEASING = (ReleasePod,)
"""Before the forced delete of a lost node's pod: it moves the time of deletion, which the bill that is written rests on."""


class Performer(Protocol):
    """Whoever carries actions out."""

    async def perform(self, action: Action) -> None:
        """Do it."""


def runs(actions: Iterable[Action]) -> Iterator[Sequence[Action]]:
    """The actions in their order; neighbours that may be carried out side by side together."""
    for kind, group in groupby(actions, key=_kind):
        if kind:
            yield list(group)
        else:
            yield from ([action] for action in group)


def _kind(action: Action) -> tuple[type, ...]:
    return next((kind for kind in (CREATING, ENDING, RELEASING) if isinstance(action, kind)), ())


async def side_by_side(performer: Performer, actions: Sequence[Action]) -> None:
    """Carry out a run: as many side by side as the apiserver has time for, of creates the first alone.

    After an error nothing more is begun; what is under way ends, then the first error is raised.
    """
    left, window = iter(actions), coming() if isinstance(actions[0], CREATING) else going()
    under_way: set[asyncio.Task[None]] = set()
    error: BaseException | None = None
    try:
        while True:
            while error is None and len(under_way) < window.size and (action := next(left, None)) is not None:
                under_way.add(asyncio.create_task(window.timed(performer.perform(action))))
            if not under_way:
                break
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            error = error or next((task.exception() for task in done if task.exception()), None)
    finally:
        for task in under_way:
            task.cancel()
    if error is not None:
        raise error


@dataclass
class Window:
    """How many acts may be under way.

    An answer that takes longer than `slow` seconds, and thrice as long as the quickest, comes from an apiserver with no
    time left: more under way make none of them sooner, and everybody else's later. A tenth fewer then, one more otherwise.
    """

    size: int
    smallest: int
    slow: float
    quickest: float = math.inf

    async def timed(self, act: Awaitable[None]) -> None:
        """Do it, and learn from how long it took."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        await act
        taken = clock() - begun
        self.quickest = min(self.quickest, taken)
        size = self.size * 9 // 10 if taken > max(self.slow, SLOW_TIMES * self.quickest) else self.size + 1
        self.size = max(self.smallest, min(LARGEST, size))


def coming() -> Window:
    """Of pods that are created: they give way to everybody else's requests. A large job has three hundred of them."""
    return Window(1, 5, 0.1)


def going() -> Window:
    """Of what takes a cluster down: it is being paid for."""
    return Window(10, 10, 0.2)

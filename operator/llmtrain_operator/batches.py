"""Acts of one kind are carried out side by side once the first of them has succeeded.

What the apiserver refuses for one pod it refuses for the next three hundred: a quota then costs one request, not all.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

from llmtrain_operator.observation import (
    Action,
    CreateEvaluator,
    CreateHead,
    CreateWorker,
    DeletePod,
    ReleasePod,
    ShortenPod,
)

LARGEST = 25
"""Half of what the operator may have under way at once, so that a large job leaves room for others."""
SIDE_BY_SIDE = {
    CreateHead: "create",
    CreateWorker: "create",
    CreateEvaluator: "create",
    DeletePod: "delete",
    ReleasePod: "release",
    ShortenPod: "shorten",
}


class Performer(Protocol):
    """Whoever carries actions out."""

    async def perform(self, action: Action) -> None:
        """Do it."""


def runs(actions: Iterable[Action]) -> Iterator[Sequence[Action]]:
    """The actions in their order; neighbours of one kind that may be carried out side by side together."""
    for kind, group in groupby(actions, key=lambda action: SIDE_BY_SIDE.get(type(action), "")):
        if kind:
            yield list(group)
        else:
            yield from ([action] for action in group)


async def side_by_side(performer: Performer, actions: Sequence[Action]) -> None:
    """Carry them out: the first alone, then 25 side by side.

    After an error nothing more is begun; what is under way ends, then the first error is raised.
    """
    left, window = iter(actions), 1
    under_way: set[asyncio.Task[None]] = set()
    error: BaseException | None = None
    try:
        while True:
            while error is None and len(under_way) < window and (action := next(left, None)) is not None:
                under_way.add(asyncio.create_task(performer.perform(action)))
            if not under_way:
                break
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            error = error or next((task.exception() for task in done if task.exception()), None)
            window = LARGEST
    finally:
        for task in under_way:
            task.cancel()
    if error is not None:
        raise error

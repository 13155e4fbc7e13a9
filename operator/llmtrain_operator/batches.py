"""Acts of one kind are carried out side by side, a few at first and more as they succeed.

What the apiserver refuses for one pod it refuses for the next three hundred: a quota then costs one request, not all.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

from llmtrain_operator.observation import Action, CreateHead, CreateWorker, DeletePod, ReleasePod, ShortenPod

LARGEST = 25
"""Half of what the operator may have under way at once, so that a large job leaves room for others."""
SIDE_BY_SIDE = {CreateHead: "create", CreateWorker: "create", DeletePod: "delete", ReleasePod: "release",
                ShortenPod: "shorten"}  # fmt: skip


class Performer(Protocol):
    """Whoever carries actions out."""

    async def perform(self, action: Action) -> None:
        """Do it."""


def batches(actions: Iterable[Action]) -> Iterator[Sequence[Action]]:
    """The actions in their order; neighbours of one kind in batches of 1, 2, 4, ... up to 25."""
    for kind, group in groupby(actions, key=lambda action: SIDE_BY_SIDE.get(type(action), "")):
        left, size = list(group), 1
        while left:
            yield left[:size]
            left = left[size:]
            size = min(2 * size, LARGEST) if kind else 1


async def together(performer: Performer, batch: Sequence[Action]) -> None:
    """Carry out a batch to its end; the first error is raised."""
    results = await asyncio.gather(*map(performer.perform, batch), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result

"""Acts that may come in any order are carried out side by side.

Pods are created so once the first of them is: what the apiserver refuses for one it refuses for the next three hundred,
and a quota then costs one request, not all. What takes a cluster down waits for nothing, and goes before what is created.
"""

import asyncio
import math
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from llmtrain_operator.client import NO_ANSWER, ApiError
from llmtrain_operator.observation import (
    Action,
    CreateEvaluator,
    CreateHead,
    CreateObjects,
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
MOUNTED = (CreateObjects,)
ENDING = (DeletePod, ShortenPod, DeleteObjects)
RELEASING = (ReleasePod,)
"""Before the forced delete of a lost node's pod: it moves the time of deletion, which the bill that is written rests on."""


@dataclass(frozen=True)
class Result:
    """What became of an action; `error` None: it was carried out."""

    action: Action
    error: ApiError | None = None


class Performer(Protocol):
    """Whoever carries actions out."""

    async def perform(self, action: Action) -> None:
        """Do it; ApiError where the apiserver refuses."""


async def carry_out(performer: Performer, actions: Iterable[Action]) -> list[Result]:
    """What became of each action that was begun. A refused one holds up none of another kind.

    Of creates none follows a refused one: pods mount what is created before them.
    """
    results, refused = list[Result](), False
    for run in runs(actions):
        if refused and isinstance(run[0], MOUNTED + CREATING):
            continue
        done = await side_by_side(performer, run)
        results += done
        refused = refused or any(one.error and isinstance(one.action, MOUNTED + CREATING) for one in done)
    return results


def runs(actions: Iterable[Action]) -> Iterator[Sequence[Action]]:
    """The actions in their order, creates last; neighbours that may be carried out side by side together."""
    ordered = sorted(actions, key=lambda action: isinstance(action, MOUNTED + CREATING))
    for kind, group in groupby(ordered, key=_kind):
        if kind:
            yield list(group)
        else:
            yield from ([action] for action in group)


def _kind(action: Action) -> tuple[type, ...]:
    return next((kind for kind in (CREATING, ENDING, RELEASING) if isinstance(action, kind)), ())


async def side_by_side(performer: Performer, actions: Sequence[Action]) -> list[Result]:
    """Carry out a run: as many side by side as the apiserver has time for, of creates the first alone.

    What became of those that were begun: nothing more is once it is clear that the others fare no better.
    """
    left, creating = iter(actions), isinstance(actions[0], CREATING)
    window = coming() if creating else going()
    under_way: dict[asyncio.Task[None], Action] = {}
    results, in_vain = list[Result](), False
    try:
        while True:
            while not in_vain and len(under_way) < window.size and (action := next(left, None)) is not None:
                under_way[asyncio.create_task(window.timed(performer.perform(action)))] = action
            if not under_way:
                return results
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            results += (ended := [Result(under_way.pop(task), _refusal(task)) for task in done])
            # Looked at only where one of these was refused: of hundreds of pods hardly any is.
            in_vain = in_vain or (any(one.error for one in ended) and _in_vain(results, creating))
    finally:
        for task in under_way:
            task.cancel()


def _in_vain(results: Sequence[Result], creating: bool) -> bool:
    """The apiserver has refused a create, or does not answer, or has refused many and taken none."""
    errors = [one.error for one in results if one.error is not None]
    silent = any(error.code == NO_ANSWER for error in errors)
    return bool(errors) and (creating or silent or len(errors) == len(results) >= LARGEST)


def _refusal(task: "asyncio.Task[None]") -> ApiError | None:
    """What the apiserver said against it. Any other error is a bug, and raised."""
    error = task.exception()
    if error is not None and not isinstance(error, ApiError):
        raise error
    return error


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

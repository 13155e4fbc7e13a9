"""What one bad object costs: itself. A loop beside the jobs' goes on with the next one, and begins anew where it ends in a bug.

The process ends for nothing but its own configuration and a signal: a process that ends stops every job's bill at once.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any

from llmtrain.text import plain
from llmtrain_operator.client import ApiError

log = logging.getLogger("llmtrain.operator")
LONGEST_PAUSE = 60.0
"""Seconds between two starts of a loop that ends in a bug each time."""
SETTLED = 300.0
"""A loop that ran for so many seconds begins anew at once."""
REMEMBERED = 10_000


class Loop(StrEnum):
    """The operator's loops: the values of the crash counter's label `loop`."""

    JOB = "job"
    JOB_WATCH = "job-watch"
    POD_WATCH = "pod-watch"
    SWEEP = "sweep"
    UPKEEP = "upkeep"
    PROGRESS = "progress"
    PULSE = "pulse"
    PING = "ping"
    SCRAPE = "scrape"


ENDING_SECONDS = 20.0
"""For a loop that is cancelled to end: less than the grace of the operator's pod."""


class LostError(Exception):
    """A loop was cancelled though nobody had asked for that."""


def nobody(loop: str) -> None:
    """Count no crash."""


@dataclass
class Guard:
    """The guard of one loop. `count` is told the loop's name of each bug."""

    loop: Loop
    count: Callable[[str], None] = nobody
    longest_pause: float = LONGEST_PAUSE
    _told: dict[str, str] = field(default_factory=dict)

    def each(self, what: str) -> "Piece":
        """For a `with`: work on one object. An error in it is counted and told, and goes no further."""
        return Piece(self, what)

    def tell(self, what: str, error: BaseException) -> None:
        """Count a bug and log it once for each object until it changes; a refusal of the apiserver is no bug."""
        text = plain(f"{type(error).__name__}: {error}")
        bug = not isinstance(error, ApiError)
        if bug:
            self.count(self.loop.value)
        if self._told.get(what) == text:
            return
        self._told[what] = text
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        log.log(
            logging.ERROR if bug else logging.WARNING,
            "%s: %s: %s",
            self.loop.value,
            plain(what),
            text,
            exc_info=error if bug else None,
        )

    async def keep_running(self, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop until it ends by itself; one that ends in a bug begins anew, ever more slowly."""
        clock, pause = asyncio.get_running_loop().time, 0.0
        while True:
            begun = clock()
            task = asyncio.create_task(start(), name=self.loop.value)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                # What it leaves behind is cancelled with all that the process runs, in the midst of its own end.
                await asyncio.wait({task}, timeout=ENDING_SECONDS)
            # Whoever cancels this has not come so far: the loop was cancelled by something that it waited for.
            error = LostError() if task.cancelled() else task.exception()
            if error is None:
                return
            self.tell("the whole loop", error)
            pause = 0.0 if clock() - begun >= SETTLED else min(self.longest_pause, max(1.0, 2 * pause))
            await asyncio.sleep(min(pause, self.longest_pause))


@dataclass
class Piece:
    """The work on one object. `failed`: it ended in an error."""

    guard: Guard
    what: str
    failed: bool = False

    def __enter__(self) -> "Piece":
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """Keep an error here; a cancellation passes."""
        if not isinstance(error, Exception):
            return False
        self.failed = True
        self.guard.tell(self.what, error)
        return True

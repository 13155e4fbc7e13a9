"""Places for turns: who was woken goes first, and those that only write their bill leave room."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SIDE_BY_SIDE = 50
"""Turns under way at once, as many as requests: each holds its job and pods, and of a thousand that began together all
would end late. Against an apiserver that lets each request hang, a thousand jobs still have their turns within the time
after which the operator is taken for stuck."""
RESTING = 5
"""Of these, turns of jobs at rest: each of their requests delays those of a job that somebody waits for."""


@dataclass(eq=False)
class Waiter:
    """Somebody who waits. What he `rests` says may change while he does; what it said when he was let in is the answer."""

    rests: Callable[[], bool]
    let_in: "asyncio.Future[bool]"


@dataclass
class Gate:
    """Within each of the two kinds, who came first goes first."""

    places: int = SIDE_BY_SIDE
    for_resting: int = RESTING
    _inside: int = 0
    _resting: int = 0
    _queue: list[Waiter] = field(default_factory=list)

    @asynccontextmanager
    async def place(self, rests: Callable[[], bool]) -> AsyncIterator[None]:
        """Hold a place."""
        waiter = Waiter(rests, asyncio.get_running_loop().create_future())
        self._queue.append(waiter)
        self.admit()
        try:
            await waiter.let_in
            yield
        finally:
            self._leave(waiter)

    def admit(self) -> None:
        """Let in all for whom there is room; to be called when somebody who waits was woken."""
        while self._inside < self.places and (waiter := self._next()) is not None:
            self._queue.remove(waiter)
            resting = waiter.rests()
            self._inside, self._resting = self._inside + 1, self._resting + resting
            waiter.let_in.set_result(resting)

    def _next(self) -> Waiter | None:
        waiting = [waiter for waiter in self._queue if not waiter.let_in.done()]  # a cancelled one has yet to leave
        awake = next((waiter for waiter in waiting if not waiter.rests()), None)
        if awake is None and waiting and self._resting < self.for_resting:
            return waiting[0]
        return awake

    def _leave(self, waiter: Waiter) -> None:
        """Also of one who gave up waiting."""
        if waiter in self._queue:
            self._queue.remove(waiter)
        else:
            self._inside, self._resting = self._inside - 1, self._resting - waiter.let_in.result()
        self.admit()

"""Time for tests that passes only while everything waits: no sleep takes long, and none is too short on a slow machine.

asyncio's sleeps and timeouts go by the clock of their event loop, and so does what the operator measures of its own requests.
The clock of this one stands while anything can run, and jumps to the next timer where nothing can.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")


class _Jumping(selectors.SelectSelector):
    """Looks at what is ready and waits for nothing."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("everything waits, and nothing is to happen at any time")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """For coroutines that talk to nobody outside of the test: threads and sockets need time that passes by itself."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test on a loop of this kind."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run

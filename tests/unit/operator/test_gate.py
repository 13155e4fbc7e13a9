"""Who was woken goes first; those that rest leave room; nobody is lost."""

import asyncio
from collections.abc import Callable

from llmtrain_operator.gate import Gate


class Crowd:
    """Turns that last until they are let go, in the order in which they began."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.begun = gate, list[str]()
        self.tasks = dict[str, "asyncio.Task[None]"]()
        self._ends = dict[str, asyncio.Event]()

    async def come(self, name: str, rests: Callable[[], bool]) -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._turn(name, rests))
        await settled()

    async def go(self, name: str) -> None:
        self._ends[name].set()
        await settled()

    async def _turn(self, name: str, rests: Callable[[], bool]) -> None:
        async with self.gate.place(rests):
            self.begun.append(name)
            await self._ends[name].wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def awake() -> bool:
    return False


def resting() -> bool:
    return True


async def test_who_was_woken_goes_before_those_that_rest() -> None:
    crowd = Crowd(Gate(places=1, for_resting=1))
    await crowd.come("first", resting)
    for number in range(3):
        await crowd.come(f"resting-{number}", resting)
    await crowd.come("woken-0", awake)
    await crowd.come("woken-1", awake)
    for name in ("first", "woken-0", "woken-1", "resting-0", "resting-1", "resting-2"):
        assert crowd.begun[-1] == name
        await crowd.go(name)


async def test_those_that_rest_leave_room() -> None:
    crowd = Crowd(Gate(places=3, for_resting=2))
    for number in range(4):
        await crowd.come(f"resting-{number}", resting)
    assert crowd.begun == ["resting-0", "resting-1"]
    await crowd.come("woken", awake)
    assert crowd.begun[-1] == "woken"


async def test_who_is_woken_while_waiting_goes_at_once() -> None:
    crowd = Crowd(Gate(places=2, for_resting=1))
    woken = False
    await crowd.come("first", resting)
    await crowd.come("second", lambda: not woken)
    assert crowd.begun == ["first"]
    woken = True
    crowd.gate.admit()
    await settled()
    assert crowd.begun == ["first", "second"]


async def test_who_gives_up_takes_no_place_with_him() -> None:
    crowd = Crowd(Gate(places=1, for_resting=1))
    await crowd.come("first", awake)
    for name in ("waits", "let in and cancelled"):
        await crowd.come(name, awake)
    crowd.tasks["waits"].cancel()
    crowd._ends["first"].set()
    await asyncio.sleep(0)  # the first leaves, and finds a waiter who is cancelled and has not left
    crowd.tasks["let in and cancelled"].cancel()
    await settled()
    await crowd.come("last", awake)
    assert crowd.begun[-1] == "last"
    for task in crowd.tasks.values():
        task.cancel()
    await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)

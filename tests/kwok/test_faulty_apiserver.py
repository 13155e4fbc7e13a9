"""An apiserver that errs, hangs, repeats itself and serves what is old: the same end, nothing made twice, no hot loop."""

import asyncio

import pytest

from tests.kwok.proxy import Answers, Closed, Delayed, Dropped, Fault, Shuffled, Stale
from tests.kwok.runs import End, World, differences, play

SIDE_BY_SIDE = 3
FAULTS: dict[str, Fault] = {
    "watch closed and expired": Closed(),
    "events dropped": Dropped(),
    "events delayed": Delayed(),
    "events repeated and reordered": Shuffled(),
    "lists served stale": Stale(0.3),
    "conflicts": Answers([409], 0.15),
    "too many requests": Answers([429], 0.2),
    "errors": Answers([500, 503], 0.15),
    "hanging answers": Answers([0], 0.03, hang=8),
}


@pytest.mark.timeout(1500)
async def test_the_job_ends_as_ever_and_asks_no_more_than_it_must(world: World, golden: End) -> None:
    gate = asyncio.Semaphore(SIDE_BY_SIDE)

    async def problems(name: str, fault: Fault) -> list[str]:
        async with gate:
            try:
                end = await play(world, "fault", fault)
            except AssertionError as error:
                return [f"{name}: {error}"]
        found = differences(end, golden) + ([f"{end.calls} calls"] if end.calls > 6 * golden.calls else [])
        print(f"\n{name}: {end.calls} calls, undisturbed {golden.calls}")
        return [f"{name}: {one}" for one in found]

    results = await asyncio.gather(*(problems(name, fault) for name, fault in FAULTS.items()))
    found = [one for result in results for one in result]
    assert not found, "\n".join(found)

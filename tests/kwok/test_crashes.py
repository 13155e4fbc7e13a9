"""The operator dies by SIGKILL right before or right after a write; a sample of the matrix that tests/long plays whole."""

import asyncio

import aiohttp
import pytest

from tests.kwok.proxy import Kill
from tests.kwok.runs import End, World, differences, play

SIDE_BY_SIDE = 4
SAMPLE = 12


async def crash(world: World, gate: asyncio.Semaphore, golden: End, number: int, after: bool) -> tuple[str, bool]:
    """One run; what went wrong, if anything, and whether the operator was killed at all."""
    fault = Kill(number, after)
    where = f"{'after' if after else 'before'} write {number}"
    async with gate:
        try:
            found = differences(await play(world, "crash", fault), golden)
        except (AssertionError, OSError, aiohttp.ClientError) as error:
            found = [f"{type(error).__name__} {error}"]
    print(f"killed {where}: {'; '.join(found) or 'ends as ever'}", flush=True)
    return f"killed {where}: {'; '.join(found)}" if found else "", fault.fired


async def matrix(world: World, golden: End, points: list[tuple[int, bool]]) -> tuple[list[str], int]:
    """All runs, some side by side; what went wrong, and how often the operator was killed."""
    gate = asyncio.Semaphore(SIDE_BY_SIDE)
    results = await asyncio.gather(*(crash(world, gate, golden, number, after) for number, after in points))
    return [problem for problem, _ in results if problem], sum(fired for _, fired in results)


@pytest.mark.timeout(1500)
async def test_a_kill_at_any_write_changes_neither_objects_nor_the_bill(world: World, golden: End) -> None:
    assert golden.ledger_micro_usd == golden.recorded_micro_usd == golden.booked_micro_usd > 0
    assert golden.left == []
    step = max(1, 2 * golden.writes // SAMPLE)
    points = [(number // 2 + 1, number % 2 == 1) for number in range(0, 2 * golden.writes, step)]
    problems, killed = await matrix(world, golden, points)
    print(f"\n{golden.writes} writes; {killed} kills in {len(points)} runs")
    assert not problems, "\n".join(problems)
    assert killed >= len(points) - 2

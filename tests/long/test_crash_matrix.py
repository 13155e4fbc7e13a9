"""The whole crash matrix, and an apiserver that errs for a minute."""

import pytest

from tests.kwok.proxy import Answers, Fault
from tests.kwok.runs import End, World, differences, play
from tests.kwok.test_crashes import matrix

MINUTE = 60.0
SPREAD = 8
"""Every eighth kill first, so that a run that is cut short has seen something of every stage."""
FAULTS: dict[str, Fault] = {
    "conflicts": Answers([409], 0.2, seconds=MINUTE),
    "too many requests": Answers([429], 0.3, seconds=MINUTE),
    "errors": Answers([500, 503], 0.2, seconds=MINUTE),
    "hanging answers": Answers([0], 0.05, hang=MINUTE, seconds=MINUTE),
}


@pytest.mark.timeout(7200)
async def test_a_kill_before_and_after_every_write_changes_nothing(world: World, golden: End) -> None:
    points = [(number, after) for number in range(1, golden.writes + 1) for after in (False, True)]
    print(f"\n{golden.writes} writes", flush=True)
    spread = [point for first in range(SPREAD) for point in points[first::SPREAD]]
    problems, killed = await matrix(world, golden, spread)
    print(f"\n{golden.writes} writes; {killed} kills in {len(points)} runs")
    assert not problems, "\n".join(problems)
    assert killed >= 0.9 * len(points)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(FAULTS))
async def test_a_minute_of_faults_ends_as_ever(name: str, world: World, golden: End) -> None:
    end = await play(world, "fault", FAULTS[name], seconds=600)
    print(f"\n{name}: {end.calls} calls, undisturbed {golden.calls}")
    assert differences(end, golden) == []
    assert end.calls < 6 * golden.calls

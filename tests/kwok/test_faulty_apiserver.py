"""An apiserver that errs, hangs, repeats itself and serves what is old: the same end, nothing made twice, no hot loop."""

import pytest

from tests.kwok.proxy import Answers, Closed, Delayed, Dropped, Fault, Shuffled, Stale
from tests.kwok.runs import End, World, differences, play

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


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", list(FAULTS))
async def test_the_job_ends_as_ever(name: str, world: World, golden: End) -> None:
    end = await play(world, "fault", FAULTS[name], seconds=240)
    print(f"\n{name}: {end.calls} calls, undisturbed {golden.calls}")
    assert differences(end, golden) == []
    assert end.calls < 6 * golden.calls

"""Two operators at once, and a new one that begins while the old still works: the same pods, the same bill.

A Deployment with `strategy: Recreate` keeps them apart, but a node that does not answer, or a second release, does not.
"""

import asyncio

import pytest

from tests.kwok.runs import End, World, differences, play_twice


@pytest.mark.timeout(600)
async def test_two_operators_make_no_pod_twice_and_bill_exactly(world: World, golden: End) -> None:
    assert golden.ledger_micro_usd == golden.recorded_micro_usd > 0
    both, after = await asyncio.gather(play_twice(world, "both"), play_twice(world, "after", leaves_at="trn"))
    for how, pair in (("both at once", both), ("one after the other", after)):
        assert differences(pair.end, golden) == [], how
        assert pair.end.restarts == 0, "neither ends by itself"
        assert min(pair.writes) > 0, f"{how}: each of them has worked, {pair.writes}"
        print(f"\n{how}: writes {pair.writes}, alone {golden.writes}")

"""The budget's simulations over many seeds."""

import pytest

from tests.unit.operator.test_bounds import die_at_some_time
from tests.unit.operator.test_budget import race, run_into_the_limit


@pytest.mark.parametrize("block", range(20))
async def test_jobs_that_race_for_one_headroom_never_exceed_it(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        await race(1000 + seed)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(20))
async def test_a_running_job_on_a_budget_never_ends_above_its_limit(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        await run_into_the_limit(1000 + seed)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(20))
async def test_a_job_whose_operator_died_never_ends_above_its_limit(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        await die_at_some_time(1000 + seed)

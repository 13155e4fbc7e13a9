"""Two thousand random writes of a tenant, in parts of 250 that can be run one by one (`-k part3`)."""

import pytest

from tests.kwok.fuzz import fuzz
from tests.kwok.runs import World

PARTS, WRITES = 8, 250


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("controllers")
@pytest.mark.parametrize("part", range(PARTS), ids=lambda part: f"part{part}")
async def test_a_tenants_writes_stop_nobody(world: World, part: int) -> None:
    assert await fuzz(world, WRITES, seed=100 + part) == []

"""What a tenant writes in namespaces of his own, at random, stops nobody: the operator's real process on a real apiserver.

150 writes here; tests/long plays two thousand. The operator serves all namespaces; the collector of garbage, that of pods
and the controller of namespaces are Kubernetes' own.
"""

import pytest

from tests.kwok.fuzz import fuzz
from tests.kwok.runs import World

WRITES = 150


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("controllers")
async def test_a_tenants_writes_stop_nobody(world: World) -> None:
    assert await fuzz(world, WRITES, seed=1) == []

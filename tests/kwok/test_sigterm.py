"""An operator that is asked to end ends within the grace that its pod has, however much it looks after."""

import asyncio
import os

import pytest

from tests.kwok.operators import Operator
from tests.kwok.plane import JOBS, until
from tests.kwok.proxy import Fault, Proxy
from tests.kwok.runs import World, job

JOBS_HELD = 30
GRACE_SECONDS = 30
"""The chart's `terminationGracePeriodSeconds`: then the kubelet ends it, and whoever follows waits for that."""


@pytest.mark.timeout(300)
async def test_sigterm_ends_it_within_its_grace(world: World) -> None:
    namespace = world.namespace("term")
    await world.admin.namespace(namespace)
    url = f"{JOBS}/namespaces/{namespace}/llmtrainingjobs"
    async with Proxy(world.plane, Fault()) as proxy:
        operator = Operator(world.plane.state / "operators", f"http://127.0.0.1:{proxy.port}", namespace)
        await operator.start(once=True)
        try:
            for number in range(JOBS_HELD):
                await world.admin.post(url, job(f"j{number}", suspend=True))

            async def all_seen() -> bool:
                items = (await world.admin.get(url))["items"]
                return all((item.get("status") or {}).get("state") == "Suspended" for item in items)

            await until("every job is looked after", all_seen, 120)
            # Whoever writes a job wakes the watch: some of it is under way when the signal comes.
            for number in range(JOBS_HELD):
                await world.admin.patch(f"{url}/j{number}", {"metadata": {"labels": {"seen": "yes"}}})
            operator.process.terminate()
            assert await asyncio.wait_for(operator.process.wait(), GRACE_SECONDS) == os.EX_OK, operator.log()
        finally:
            await operator.close()
    assert "Traceback" not in operator.log()

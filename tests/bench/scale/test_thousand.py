"""A thousand running jobs with eight thousand pods: what the operator costs at rest, how soon it looks, how it restarts.

Run with `make bench-scale`. Pods are scheduled and run by KWOK. JOBS in the environment makes it smaller. Nothing about
time is asserted; that no pod is touched by a restart is.
"""

import asyncio
import itertools
import math
import os
import statistics
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.bench.scale.contenders import Ours, Shape, curating, each, jobs_in
from tests.bench.scale.observer import Observer
from tests.kwok.plane import Admin, Plane, follow, scrape, until
from tests.kwok.stages import Timing

SHAPE = Shape(int(os.environ.get("JOBS", "1000")), 8)
SPACE, TURNS = "thousand", "llmtrain_operator_reconcile_total"
REST_SECONDS = 120
PATIENCE = 3600.0
PROBES, LARGE = 100, 301


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    plane = Plane(tmp_path_factory.mktemp("thousand"), 50, Timing(start=100, work=None, stop=100, preflight=100))
    plane.start()
    yield plane
    plane.stop()


def resident_mb(pid: int) -> float:
    """Resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def requests(ours: Ours) -> float:
    """Requests that the operator has made so far."""
    return sum(scrape(ours.metrics_port, "llmtrain_operator_api_requests_total").values())


async def all_running(admin: Admin, observer: Observer) -> float:
    """Start everything; seconds until all pods are there. They run when this returns."""
    begun = time.monotonic()
    await each(SHAPE, lambda i: admin.post(jobs_in(SPACE), curating(f"c{i}", SHAPE.pods - 1)))
    await observer.reach(SPACE, SHAPE.total, PATIENCE)
    seconds = time.monotonic() - begun

    async def nobody_waits() -> bool:
        url = f"/api/v1/namespaces/{SPACE}/pods?limit=1&fieldSelector=status.phase%21%3DRunning"
        return not (await admin.get(url))["items"]

    await until("all pods run", nobody_waits, PATIENCE, every=2)
    return seconds


async def rest(ours: Ours) -> None:
    """Measure the operator while nobody does anything."""
    await asyncio.sleep(90)
    pid = ours.process.running.pid
    cpu, asked, begun = ours.process.cpu_seconds, requests(ours), time.monotonic()
    await asyncio.sleep(REST_SECONDS)
    seconds = time.monotonic() - begun
    print(f"at rest: {(ours.process.cpu_seconds - cpu) / seconds:.2f} core, {resident_mb(pid):.0f} MB, "
          f"{(requests(ours) - asked) / seconds:.0f} requests/s", flush=True)  # fmt: skip


def whole_scrape(ours: Ours) -> None:
    """What Prometheus costs the operator each time it asks for everything."""
    cpu = ours.process.cpu_seconds
    with urllib.request.urlopen(f"http://127.0.0.1:{ours.metrics_port}/metrics", timeout=60) as answer:
        size = len(answer.read())
    print(f"a scrape of everything: {size / 1e6:.1f} MB, {ours.process.cpu_seconds - cpu:.1f} s of its CPU time",
          flush=True)  # fmt: skip


async def answered(admin: Admin, name: str) -> float:
    """Seconds from a change of a job's spec until its status tells of it, by a watch: asking again and again slows all."""
    begun = time.monotonic()
    body = {"spec": {"ttlSecondsAfterFinished": int(begun)}}
    meta = (await admin.patch(f"{jobs_in(SPACE)}/{name}", body))["metadata"]
    events = follow(admin, jobs_in(SPACE), meta["resourceVersion"], fields=f"metadata.name={name}")
    async with asyncio.timeout(120), aclosing(events):
        async for event in events:
            if event["object"]["status"]["observedGeneration"] >= meta["generation"]:
                break
    return time.monotonic() - begun


def waits(ours: Ours) -> Counter[str]:
    """How many of the woken turns have begun within so many seconds, by `le`."""
    samples = scrape(ours.metrics_port, "llmtrain_operator_reconcile_wait_seconds_bucket")
    return Counter({sample.split('"')[1]: int(value) for sample, value in samples.items()})


async def wakes(admin: Admin, ours: Ours, names: AsyncIterator[str]) -> None:
    """From a change of a job's spec until its status says that it was seen, one job after the other."""
    before = waits(ours)
    found = sorted([await answered(admin, name) async for name in names])
    late = waits(ours)
    late.subtract(before)
    print(f"change to reconciled: median {statistics.median(found) * 1000:.0f} ms, "
          f"p99 {found[math.ceil(0.99 * len(found)) - 1] * 1000:.0f} ms, slowest of {len(found)} "
          f"{found[-1] * 1000:.0f} ms; {late['+Inf'] - late['1.0']} of {late['+Inf']} woken turns "
          "of all jobs began later than 1 s", flush=True)  # fmt: skip


async def a_hundred() -> AsyncIterator[str]:
    """Names of jobs to probe."""
    for number in range(PROBES):
        yield f"c{number}"


async def restarted(admin: Admin, ours: Ours, observer: Observer) -> None:
    """Kill the operator; seconds until the new one has looked at every job, and no pod made or gone."""
    before = set(observer.alive[SPACE]), len(observer.born[SPACE])
    ours.process.running.kill()
    ours.process.running.wait()
    begun = time.monotonic()
    ours.process.start()

    async def looked() -> bool:
        try:
            return sum(scrape(ours.metrics_port, TURNS).values()) >= SHAPE.clusters
        except OSError:
            return False

    await until("a turn for each job", looked, 600, every=0.25)
    print(f"restart: {SHAPE.clusters} turns after {time.monotonic() - begun:.1f} s", flush=True)
    await asyncio.sleep(20)
    assert (set(observer.alive[SPACE]), len(observer.born[SPACE])) == before, "a pod was touched"


async def neighbours(observer: Observer) -> AsyncIterator[str]:
    """Names of jobs to probe until the large one beside them is whole."""
    for number in itertools.count():
        if observer.count("large") == LARGE:
            return
        yield f"c{number % SHAPE.clusters}"


@pytest.mark.timeout(7200)
async def test_a_thousand_jobs(plane: Plane, admin: Admin) -> None:
    observer, ours = Observer(admin), Ours(plane, admin)
    await observer.start()
    for space in (SPACE, "large"):
        await admin.namespace(space)
    ours.process.start()
    try:
        print(f"\n{SHAPE}: all pods there after {await all_running(admin, observer):.0f} s", flush=True)
        await rest(ours)
        whole_scrape(ours)
        await wakes(admin, ours, a_hundred())
        await restarted(admin, ours, observer)
        print(f"beside a job whose {LARGE} pods are created: ", end="")
        await admin.post(jobs_in("large"), curating("large", LARGE - 1))
        await wakes(admin, ours, neighbours(observer))
    finally:
        ours.process.stop()
        await observer.close()

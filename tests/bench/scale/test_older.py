"""This commit's operator beside an older one's, alternated in one run: pods created and taken down, and what rest costs.

`OLDER=10d6fb5 pytest tests/bench/scale/test_older.py -s`; SHAPES and ROUNDS (seven or more) as in test_rates.py, JOBS is
the number of jobs that each of the two has at rest. Rates are shares of a bare client's of the same round. Nothing about
time is asserted.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.bench.scale.contenders import Ours, Shape, curating, each, jobs_in, space
from tests.bench.scale.least import Sample
from tests.bench.scale.observer import Observer
from tests.bench.scale.older import At, checkout
from tests.bench.scale.test_rates import BARE, DELETED, GONE, RATE, SUSPENDED, Course
from tests.bench.scale.test_thousand import requests, resident_mb
from tests.kwok.plane import ROOT, Admin, Plane, until
from tests.kwok.stages import Timing

OLDER = os.environ.get("OLDER", "10d6fb5")
SHAPES = [Shape(*map(int, text.split("x"))) for text in os.environ.get("SHAPES", "20x8,1x301").split(",")]
ROUNDS = max(2, int(os.environ.get("ROUNDS", "8")))
"""The last ends with a deletion, the others with a suspension."""
AT_REST = Shape(int(os.environ.get("JOBS", "500")), 8)
WINDOWS, WINDOW_SECONDS, CALM_SECONDS = 8, 60, 120
NOW, BEFORE = "now", "before"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    plane = Plane(tmp_path_factory.mktemp("older"), 50, Timing(start=100, work=None, stop=100, preflight=100))
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with checkout(OLDER, tmp_path_factory.mktemp("source") / "older") as folder:
        yield folder


def told(what: str, ratios: Sequence[float], better: str) -> None:
    """Median and quartiles of ratios, this commit's by the older one's."""
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    print(f"{what}: {NOW} / {BEFORE} {middle:.2f} (quartiles {low:.2f} to {high:.2f}, {len(ratios)} pairs; {better} is better)",
          flush=True)  # fmt: skip


@pytest.mark.timeout(7200)
async def test_pods_come_and_go_no_slower(plane: Plane, admin: Admin, source: Path) -> None:
    course = Course(admin)
    await course.observer.start()
    print()
    for shape in SHAPES:
        two = [At(plane, admin, name, tree, [space(name, shape)]) for name, tree in ((NOW, ROOT), (BEFORE, source))]
        await _play(course, shape, two)
        _report(course, shape)
    await course.observer.close()


async def _play(course: Course, shape: Shape, two: list[At]) -> None:
    """Both in turn, who begins changes, and a bare client behind each of them."""
    await course.admin.namespace(f"bare-{shape.clusters}")
    try:
        for contender in two:
            await course.prepare(contender, shape)
        for number in range(1, ROUNDS + 1):
            for contender in two if number % 2 else reversed(two):
                await course.up(contender, shape)
                sample = await Sample.of(course.admin, space(contender.name, shape))
                end = course.delete if number == ROUNDS else course.suspend
                await end(contender, shape)
            await course.bare(shape, sample)
    finally:
        for contender in two:
            contender.process.stop()


def _report(course: Course, shape: Shape) -> None:
    """Shares of the bare client of the same round, and their ratios."""
    figures = course.figures
    bare = figures[BARE, str(shape), RATE]
    shares = {name: [rate / other for rate, other in zip(figures[name, str(shape), RATE], bare, strict=True)]
              for name in (NOW, BEFORE)}  # fmt: skip
    for name in (NOW, BEFORE):
        print(f"{shape}, {RATE}: {name} is {statistics.median(shares[name]):.0%} of the bare client")
    told(f"{shape}, share of the bare client's rate", _ratios(shares[NOW], shares[BEFORE]), "higher")
    gone = figures[BARE, str(shape), GONE]
    for unit, others in ((SUSPENDED, gone[:-1]), (DELETED, gone[-1:])):
        times = {name: [one / other for one, other in zip(figures[name, str(shape), unit], others, strict=True)]
                 for name in (NOW, BEFORE)}  # fmt: skip
        if len(others) > 1:
            told(f"{shape}, {unit}, times the bare client's", _ratios(times[NOW], times[BEFORE]), "lower")
        else:
            print(
                f"{shape}, {unit}, times the bare client's: {NOW} {times[NOW][0]:.2f}, {BEFORE} {times[BEFORE][0]:.2f}"
            )


def _ratios(now: Sequence[float], before: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(now, before, strict=True)]


@pytest.mark.timeout(7200)
async def test_rest_costs_no_more(plane: Plane, admin: Admin, source: Path) -> None:
    """Both have as many jobs at rest, at the same time: what else the machine does meets both alike."""
    observer = Observer(admin)
    await observer.start()
    two = [At(plane, admin, name, tree, [f"rest-{name}"]) for name, tree in ((NOW, ROOT), (BEFORE, source))]
    try:
        for one in two:
            await _started(admin, observer, one)
        await asyncio.sleep(CALM_SECONDS)
        figures = [await _window(two) for _ in range(WINDOWS)]
    finally:
        for one in two:
            one.process.stop()
        await observer.close()
    print()
    for index, (what, unit) in enumerate((("CPU", "core"), ("memory", "MB"), ("requests", "a second"))):
        now, before = ([figure[name][index] for figure in figures] for name in (NOW, BEFORE))
        print(f"{AT_REST.clusters} jobs each at rest, {what}: {statistics.median(now):.3f} {unit}, "
              f"{BEFORE} {statistics.median(before):.3f}")  # fmt: skip
        told(f"{AT_REST.clusters} jobs each at rest, {what}", _ratios(now, before), "lower")


async def _started(admin: Admin, observer: Observer, one: At) -> None:
    """All its jobs have their pods, and these run."""
    name = f"rest-{one.name}"
    await admin.namespace(name)
    one.process.start()
    await each(AT_REST, lambda i: admin.post(jobs_in(name), curating(f"c{i}", AT_REST.pods - 1)))
    await observer.reach(name, AT_REST.total, 3600)
    url = f"/api/v1/namespaces/{name}/pods?limit=1&fieldSelector=status.phase%21%3DRunning"

    async def nobody_waits() -> bool:
        return not (await admin.get(url))["items"]

    await until(f"all pods of {name} run", nobody_waits, 3600, every=2)


async def _window(two: Sequence[Ours]) -> dict[str, tuple[float, float, float]]:
    """Cores, resident MB and requests a second of each, in the same minute."""
    before = {one.name: (one.process.cpu_seconds, requests(one)) for one in two}
    begun = time.monotonic()
    await asyncio.sleep(WINDOW_SECONDS)
    seconds = time.monotonic() - begun
    return {
        one.name: (
            (one.process.cpu_seconds - before[one.name][0]) / seconds,
            resident_mb(one.process.running.pid),
            (requests(one) - before[one.name][1]) / seconds,
        )
        for one in two
    }

"""This commit's operator beside an older one's, alternated in one run: pods created and taken down, and what rest costs.

`OLDER=10d6fb5 pytest tests/bench/scale/test_older.py -s`; SHAPES and ROUNDS (seven or more) as in test_rates.py, JOBS is
the number of jobs that each of the two has at rest. Each has an apiserver of its own with its own commit's definitions.
Rates are shares of a bare client's of the same round on the same apiserver. Nothing about time is asserted.
"""

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bench.scale.contenders import Ours, Shape, curating, each, jobs_in, space
from tests.bench.scale.least import Sample
from tests.bench.scale.observer import Observer
from tests.bench.scale.older import At, checkout, definitions
from tests.bench.scale.test_rates import BARE, CPU, DELETED, GONE, PATIENCE, RATE, SUSPENDED, Course
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


@dataclass
class Side:
    """A commit with an apiserver of its own, and what was measured on it."""

    name: str
    plane: Plane
    admin: Admin
    source: Path
    course: Course

    def operator(self) -> At:
        """Its operator, which does not run yet."""
        return At(self.plane, self.admin, self.name, self.source)


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Plane, Path]]]:
    """Both apiservers run all the time, so that one idles beside the other."""
    with contextlib.ExitStack() as stack:
        older = stack.enter_context(checkout(OLDER, tmp_path_factory.mktemp("source") / "older"))
        found = {}
        for name, source in ((NOW, ROOT), (BEFORE, older)):
            timing = Timing(start=100, work=None, stop=100, preflight=100)
            plane = Plane(tmp_path_factory.mktemp(name), 50, timing, definitions(source))
            plane.start()
            stack.callback(plane.stop)
            found[name] = plane, source
        yield found


@pytest.fixture
async def sides(planes: dict[str, tuple[Plane, Path]]) -> AsyncIterator[list[Side]]:
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for name, (plane, source) in planes.items():
            admin = await stack.enter_async_context(Admin(plane))
            course = Course(admin)
            await course.observer.start()
            stack.push_async_callback(course.observer.close)
            found.append(Side(name, plane, admin, source, course))
        yield found


def told(what: str, ratios: Sequence[float], better: str) -> None:
    """Median and quartiles of ratios, this commit's by the older one's."""
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    print(f"{what}: {NOW} / {BEFORE} {middle:.2f} (quartiles {low:.2f} to {high:.2f}, {len(ratios)} pairs; {better} is better)",
          flush=True)  # fmt: skip


@pytest.mark.timeout(7200)
async def test_pods_come_and_go_no_slower(sides: list[Side]) -> None:
    print()
    for shape in SHAPES:
        await _play(sides, shape)
        _report({side.name: side.course for side in sides}, shape)


async def _play(sides: list[Side], shape: Shape) -> None:
    """Both in turn, who begins changes, and a bare client behind each of them, which makes the older one's pods."""
    with contextlib.ExitStack() as stack:
        operators = {}
        for side in sides:
            await side.admin.namespace(f"bare-{shape.clusters}")
            one = operators[side.name] = side.operator()
            await side.course.prepare(one, shape)
            stack.callback(one.process.stop)
        sample = await _sample(sides[-1], operators[BEFORE], shape)
        for number in range(1, ROUNDS + 1):
            for side in sides if number % 2 else reversed(sides):
                course, one = side.course, operators[side.name]
                await course.up(one, shape)
                await (course.delete if number == ROUNDS else course.suspend)(one, shape)
                await course.bare(shape, sample)


async def _sample(side: Side, one: At, shape: Shape) -> Sample:
    """Of a round that is not measured."""
    namespace = space(one.name, shape)
    await one.suspend(namespace, shape, False)
    await side.course.observer.reach(namespace, shape.total, PATIENCE)
    sample = await Sample.of(side.admin, namespace)
    await one.suspend(namespace, shape, True)
    await side.course.observer.reach(namespace, 0, PATIENCE)
    return sample


def _report(courses: dict[str, Course], shape: Shape) -> None:
    """Shares of the bare client of the same round, and their ratios."""
    shares = {name: _shares(course, name, shape, RATE, RATE) for name, course in courses.items()}
    for name, found in shares.items():
        print(f"{shape}, {RATE}: {name} is {statistics.median(found):.0%} of the bare client")
    told(f"{shape}, share of the bare client's rate", _ratios(shares[NOW], shares[BEFORE]), "higher")
    for unit in (SUSPENDED, DELETED):
        times = {name: _shares(course, name, shape, unit, GONE) for name, course in courses.items()}
        if len(times[NOW]) > 1:
            told(f"{shape}, {unit}, times the bare client's", _ratios(times[NOW], times[BEFORE]), "lower")
        else:
            print(
                f"{shape}, {unit}, times the bare client's: {NOW} {times[NOW][0]:.2f}, {BEFORE} {times[BEFORE][0]:.2f}"
            )
    for unit in CPU.values():
        mine, other = (courses[name].figures[name, str(shape), unit] for name in (NOW, BEFORE))
        told(f"{shape}, {unit}", _ratios(mine, other), "lower")


def _shares(course: Course, name: str, shape: Shape, unit: str, bare_unit: str) -> list[float]:
    """By round. The last ended with a deletion, the others with a suspension."""
    own, bare = course.figures[name, str(shape), unit], course.figures[BARE, str(shape), bare_unit]
    beside = bare[-len(own) :] if unit == DELETED else bare[: len(own)]
    return [one / other for one, other in zip(own, beside, strict=True)]


def _ratios(now: Sequence[float], before: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(now, before, strict=True)]


@pytest.mark.timeout(7200)
async def test_rest_costs_no_more(sides: list[Side]) -> None:
    """Both have as many jobs at rest, at the same time: what else the machine does meets both alike."""
    with contextlib.ExitStack() as stack:
        two = []
        for side in sides:
            two.append(side.operator())
            await _started(side.admin, side.course.observer, two[-1])
            stack.callback(two[-1].process.stop)
        await asyncio.sleep(CALM_SECONDS)
        figures = [await _window(two) for _ in range(WINDOWS)]
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

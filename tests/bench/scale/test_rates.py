"""Pods created per second, and clusters taken down: our operator, KubeRay and a bare client on one apiserver, in one run.

Run with `make bench-scale`. Every pod is scheduled, started and stopped by KWOK. What is measured is the same for all:
from the first request that asks for the pods (suspended clusters resume) until a watch has seen the last of them, and
from the first request that wants them gone until the last one is. Ours is billed and settled by then. Nothing about
time is asserted.
"""

import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.bench.scale.contenders import Contender, KubeRay, Ours, Shape, bare, bare_end, space
from tests.bench.scale.least import Least, Sample
from tests.bench.scale.observer import Observer
from tests.kwok.plane import ROOT, Admin, Plane
from tests.kwok.stages import Timing

SHAPES = [Shape(*map(int, text.split("x"))) for text in os.environ.get("SHAPES", "20x8,100x4,1x301").split(",")]
ROUNDS = max(2, int(os.environ.get("ROUNDS", "4")))
"""Each ends with a suspension, the last with a deletion: two at least."""
PATIENCE = 600.0
RATE, SUSPENDED, DELETED = "pods/s created", "s until suspended", "s until deleted"
CPU = {True: "ms of its CPU time for a pod that comes", False: "ms of its CPU time for a pod that goes"}
BARE, GONE = "bare client", "s until none is left"
LEAST, ALONE = "the least that our API asks", "bare client, no contender beside it"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A garbage collector runs as well: KubeRay leaves its pods to it."""
    subprocess.run(
        [sys.executable, "hack/cluster", "build", "--only", "kuberay,kube-controller-manager"], cwd=ROOT, check=True
    )
    plane = Plane(tmp_path_factory.mktemp("scale"), 20, Timing(start=100, work=None, stop=100, preflight=100))
    plane.start()
    plane.run_program("kube-controller-manager", f"--kubeconfig={plane.kubeconfig}", "--leader-elect=false",
                      "--controllers=garbage-collector-controller", "--secure-port=0")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "hack/cluster", "source", "kuberay"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for crd in sorted((Path(done.stdout.strip()) / "config/crd/bases").glob("*.yaml")):
        plane.kubectl("create", "-f", str(crd))
    yield plane
    plane.stop()


class Course:
    """The plane, who watches it, and what was measured: values by contender, shape and unit."""

    def __init__(self, admin: Admin) -> None:
        self.admin, self.observer = admin, Observer(admin)
        self.figures: dict[tuple[str, str, str], list[float]] = defaultdict(list)

    def note(self, who: str, shape: Shape, unit: str, value: float) -> None:
        """Keep one value, and say it at once: the whole takes long."""
        self.figures[who, str(shape), unit].append(value)
        print(f"{shape}, {who}: {value:.1f} {unit}", flush=True)

    async def prepare(self, contender: Contender, shape: Shape) -> None:
        """Its process runs, and its clusters are there and without pods."""
        await self.admin.namespace(space(contender.name, shape))
        contender.process.start()
        await contender.prepare(space(contender.name, shape), shape)
        await self.observer.reach(space(contender.name, shape), shape.total, PATIENCE)
        await contender.suspend(space(contender.name, shape), shape, True)
        await self.observer.reach(space(contender.name, shape), 0, PATIENCE)

    async def up(self, contender: Contender, shape: Shape) -> None:
        """All pods are asked for, and come."""
        act = partial(contender.suspend, space(contender.name, shape), shape, False)
        self.note(contender.name, shape, RATE, shape.total / await self.timed(contender, shape, act, shape.total))

    async def suspend(self, contender: Contender, shape: Shape) -> None:
        """All pods are to go, and go."""
        act = partial(contender.suspend, space(contender.name, shape), shape, True)
        self.note(contender.name, shape, SUSPENDED, await self.timed(contender, shape, act, 0))

    async def delete(self, contender: Contender, shape: Shape) -> None:
        """The clusters are deleted, and their pods go."""
        act = partial(contender.delete, space(contender.name, shape), shape)
        self.note(contender.name, shape, DELETED, await self.timed(contender, shape, act, 0))

    async def timed(self, contender: Contender, shape: Shape, act: Callable[[], Awaitable[None]], pods: int) -> float:
        """Seconds from an act until so many pods are there; what the contender itself worked is noted."""
        begun, cpu = time.monotonic(), contender.process.cpu_seconds
        await act()
        end = await self.observer.reach(space(contender.name, shape), pods, PATIENCE)
        self.note(contender.name, shape, CPU[bool(pods)], (contender.process.cpu_seconds - cpu) * 1000 / shape.total)
        return end - begun

    async def bare(self, shape: Shape, sample: Sample) -> None:
        """The same number of the same pods, by nobody's operator; they come, and go with their ends seen."""
        namespace = f"bare-{shape.clusters}"
        await self.created(BARE, namespace, shape, bare(self.admin, namespace, shape.total, sample.pod))
        self.note(BARE, shape, GONE, await self.ended(namespace))

    async def created(self, who: str, namespace: str, shape: Shape, act: Awaitable[None]) -> None:
        """All pods are created by nobody's operator; how fast is noted."""
        begun = time.monotonic()
        await act
        end = await self.observer.reach(namespace, shape.total, PATIENCE)
        self.note(who, shape, RATE, shape.total / (end - begun))

    async def ended(self, namespace: str) -> float:
        """Seconds in which all pods are taken down by nobody's operator."""
        begun = time.monotonic()
        await bare_end(self.admin, namespace)
        return await self.observer.reach(namespace, 0, PATIENCE) - begun

    async def floor(self, shape: Shape, sample: Sample) -> None:
        """Without any operator: the least that our API asks, and the bare client, in turn."""
        least = Least(self.admin, f"least-{shape.clusters}", shape, sample)
        await least.prepare()
        beside = f"bare-{shape.clusters}"
        for _ in range(ROUNDS):
            await self.created(LEAST, least.namespace, shape, least.up())
            await self.ended(least.namespace)
            await self.created(ALONE, beside, shape, bare(self.admin, beside, shape.total, sample.pod))
            await self.ended(beside)

    async def play(self, shape: Shape, contenders: list[Contender]) -> None:
        """All of them in turn, and that several times, so that what else the machine does meets all alike."""
        await self.admin.namespace(f"bare-{shape.clusters}")
        try:
            for contender in contenders:
                await self.prepare(contender, shape)
            for number in range(1, ROUNDS + 1):
                for contender in contenders:
                    await self.up(contender, shape)
                    if contender is contenders[0]:
                        sample = await Sample.of(self.admin, space(contender.name, shape))
                    end = self.delete if number == ROUNDS else self.suspend
                    await end(contender, shape)
                await self.bare(shape, sample)
        finally:
            for contender in contenders:
                contender.process.stop()
        await self.floor(shape, sample)

    def median(self, who: str, shape: Shape, unit: str) -> float:
        """Median of what was measured."""
        return statistics.median(self.figures[who, str(shape), unit])


@pytest.mark.timeout(5400)
async def test_pods_per_second_and_seconds_to_none(plane: Plane, admin: Admin) -> None:
    course = Course(admin)
    await course.observer.start()
    ours, peers = Ours(plane, admin), [KubeRay(plane, admin, concurrency, SHAPES) for concurrency in (1, 10)]
    print()
    for shape in SHAPES:
        await course.play(shape, [ours, *peers])
        report(course, shape, [peer.name for peer in peers])
    await course.observer.close()


def report(course: Course, shape: Shape, peers: list[str]) -> None:
    """Medians, and our ratio to the better of the others."""
    who = [Ours.name, *peers]
    for unit, better in ((RATE, max), (SUSPENDED, min), (DELETED, min)):
        values = {name: course.median(name, shape, unit) for name in who}
        best = better(values[name] for name in peers)
        ratio = values[Ours.name] / best if better is max else best / values[Ours.name]
        text = ", ".join(f"{name} {value:.1f}" for name, value in values.items())
        print(f"{shape}, {unit}: {text}; {ratio:.1f}x the better KubeRay")
    for unit in CPU.values():
        print(f"{shape}, {unit}: " + ", ".join(f"{name} {course.median(name, shape, unit):.1f}" for name in who))
    for name, other in ((Ours.name, BARE), (LEAST, ALONE)):
        rate, whole = course.median(name, shape, RATE), course.median(other, shape, RATE)
        print(f"{shape}, {RATE}: {name} {rate:.1f}, which is {rate / whole:.0%} of {whole:.1f} ({other})")
    least = course.median(BARE, shape, GONE)
    print(
        f"{shape}, {GONE}: bare client {least:.1f}; ours {course.median(Ours.name, shape, SUSPENDED) / least:.1f} times that"
    )

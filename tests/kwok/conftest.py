"""One plane and one recorder for all tests of this folder."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.kwok.plane import ROOT, Admin, Plane
from tests.kwok.proxy import Fault
from tests.kwok.recorder import PodRecorder
from tests.kwok.runs import End, World, play
from tests.kwok.stages import Timing


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    plane = Plane(tmp_path_factory.mktemp("kwok"), nodes=20, timing=Timing())
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture(scope="session")
def controllers(plane: Plane) -> None:
    """Kubernetes' own controllers of what tenants delete: namespaces, owned objects, pods of nodes that are gone."""
    subprocess.run([sys.executable, "hack/cluster", "build", "--only", "kube-controller-manager"], cwd=ROOT, check=True)
    plane.run_program("kube-controller-manager", f"--kubeconfig={plane.kubeconfig}", "--leader-elect=false",
                      "--controllers=namespace-controller,garbage-collector-controller,pod-garbage-collector-controller",
                      "--secure-port=0")  # fmt: skip


@pytest.fixture
async def world(plane: Plane) -> AsyncIterator[World]:
    async with Admin(plane) as admin:
        recorder = PodRecorder(admin)
        await recorder.start()
        yield World(plane, admin, recorder)
        await recorder.close()


@pytest.fixture(scope="session")
def goldens() -> list[End]:
    return []


@pytest.fixture
async def golden(world: World, goldens: list[End]) -> End:
    """The undisturbed run, made once."""
    if not goldens:
        goldens.append(await play(world, "golden", Fault()))
    return goldens[0]

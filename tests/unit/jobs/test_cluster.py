"""The driver's way into Ray leaves the driver its signals: a stop that ends the process at once saves nothing."""

import os
import subprocess
import sys
import tempfile
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from llmtrain_jobs import cluster

STOPPED = """
import os, signal, threading, time
from types import SimpleNamespace
from llmtrain_jobs.cluster import connect

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
ray = connect(SimpleNamespace(config=SimpleNamespace(workers=1)))
waits = ray.remote(num_cpus=0)(lambda: time.sleep(1.5)).remote()
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
ray.get(waits)
print("stopped" if stop.is_set() else "nobody heard")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_driver_that_waits_for_its_workers_hears_that_it_is_to_stop() -> None:
    with tempfile.TemporaryDirectory(prefix="ra", ignore_cleanup_errors=True) as folder:
        own = {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        done = subprocess.run([sys.executable, "-c", STOPPED], env=dict(os.environ) | own, capture_output=True,
                              text=True, timeout=240, check=False)  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "stopped"), done.stderr[-2000:]


class FadingRay:
    """A cluster whose workers go one look after the other; it counts the looks."""

    def __init__(self, workers: int) -> None:
        self.left, self.is_connected, self.looks = workers, True, 0

    def nodes(self) -> list[dict[str, Any]]:
        there, self.left, self.looks = self.left, max(0, self.left - 1), self.looks + 1
        return [{"Alive": True, "Resources": {"CPU": 1.0}, "Labels": {}, "NodeID": str(n)} for n in range(there)]

    def shutdown(self) -> None:
        self.is_connected = False


@pytest.mark.parametrize(("workers", "looks"), [(3, 4), (400, 361)])
def test_workers_that_are_let_go_are_waited_for_and_not_for_ever(
    workers: int, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a second a look, three minutes at the most: without an operator nobody takes them away."""
    seconds = [0.0]
    monkeypatch.setattr(
        cluster,
        "time",
        SimpleNamespace(monotonic=lambda: seconds[0], sleep=lambda s: seconds.append(seconds.pop() + s)),
    )
    monkeypatch.setenv("LLMTRAIN_ROLE", "head")
    ray, said, done = FadingRay(workers), list[str](), threading.Event()
    context: Any = SimpleNamespace(workers_done=done, check_stop=lambda: None)
    cluster.let_workers_go(context, ray, lambda what: said.append(f"{what}, {done.is_set()}"))
    assert said == ["lets the workers go, True"]
    assert (ray.looks, ray.is_connected) == (looks, False)


def test_on_one_machine_there_are_none_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLMTRAIN_ROLE", raising=False)
    ray = FadingRay(3)
    context: Any = SimpleNamespace()
    cluster.let_workers_go(context, ray, lambda _: None)
    assert (ray.looks, ray.is_connected) == (0, False)

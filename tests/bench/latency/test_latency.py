"""Latencies of the control plane on the real node, printed as medians; nothing about time is asserted.

Run with `make bench`. Times of the API are whole seconds, so what is fast is measured with a watch of our own.
"""

import itertools
import statistics
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from tests.e2e.jobs import job
from tests.e2e.kube import NAMESPACE, apply, kubectl, pods, stage, status, wait, wait_succeeded
from tests.e2e.recorder import Recorder, span

ROUNDS = 7


class Names:
    """When each pod was first seen, by a watch."""

    def __init__(self) -> None:
        import threading

        self.seen: dict[str, float] = {}
        command = ["kubectl", "get", "pods", "-n", NAMESPACE, "-w", "-o", "name"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.seen.setdefault(line.strip().removeprefix("pod/"), time.monotonic())

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._thread.join(10)
        if self._process.stdout:
            self._process.stdout.close()


@pytest.fixture
def names(namespace: None) -> Iterator[Names]:
    names = Names()
    yield names
    names.close()


def test_apply_to_preflight_pod(names: Names) -> None:
    found = []
    for number in range(ROUNDS):
        name = f"bench-{number}"
        body = job(name, seed=100 + number)
        started = time.monotonic()
        apply(body)
        applied = time.monotonic()
        pod = f"{name}-pre-1-head"
        wait("the preflight pod", partial(names.seen.get, pod), 30, every=0.01)
        found.append((names.seen[pod] - started, names.seen[pod] - applied))
        kubectl("delete", "llmjob", name, "-n", NAMESPACE, "--timeout=120s")
    whole, after = (statistics.median(row[i] for row in found) * 1000 for i in (0, 1))
    print(
        f"\napply -> preflight pod created: median {whole:.0f} ms from the start of kubectl, {after:.0f} ms from its end, n={ROUNDS}"
    )


def test_stage_end_to_next_pods_and_overhead(recorder: Recorder) -> None:
    apply(job("bench-run", seed=200))
    wait_succeeded("bench-run", 900)
    wait("the last pod gone", lambda: not pods("bench-run"), 30)
    by_stage: dict[str, list[dict[str, Any]]] = {}
    for pod in recorder.pods("bench-run"):
        by_stage.setdefault(pod["metadata"]["labels"]["llmtrain.dev/stage"], []).append(pod)
    order = [s["name"] for s in status("bench-run")["stages"]]
    for before, after in itertools.pairwise(order):
        ends = [times[1] for pod in by_stage[before] if (times := span(pod))]
        made = min(datetime.fromisoformat(p["metadata"]["creationTimestamp"]) for p in by_stage[after])
        print(f"{before}: last container end -> {after} pods created: {(made - max(ends)).total_seconds():.0f} s")
    billed = sum(e["billedSeconds"] for e in status("bench-run")["ledger"]["entries"] if e["stage"] == "Training")
    worked = stage("bench-run", "Training")["workingPodSeconds"]
    print(f"Training: {1 - worked / billed:.0%} of {billed} billed pod-seconds are not work")

"""The driver's way into Ray: the pod's cluster with all its workers, or one machine's own."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llmtrain.api.stageconfig import RAY_PORT, WORKERS_MISSING
from llmtrain.network import authority
from llmtrain_jobs.context import Context
from llmtrain_jobs.entrypoint.main import INDEX_LABEL
from llmtrain_jobs.errors import unavailable

GOING_SECONDS = 180.0
"""Of workers that are let go: the operator's next look, their grace, their end."""


def connect(context: Context, least: int | None = None) -> Any:
    """Connect to Ray and wait for all workers, or for so many of them at least; the `ray` module."""
    import ray

    config = context.config
    needed = config.workers if least is None else least
    if not in_pods():
        with own_signals():
            ray.init(num_cpus=config.workers, include_dashboard=False, log_to_driver=True)
        return ray
    ip = os.environ["LLMTRAIN_POD_IP"]
    with own_signals():
        ray.init(address=authority(ip, RAY_PORT), _node_ip_address=ip, log_to_driver=True)
    end = time.monotonic() + config.wait_for_workers_seconds
    while (there := len(workers_alive(ray))) < needed:
        context.check_stop()
        if time.monotonic() > end:
            words = f"{there} of {needed} workers joined within {config.wait_for_workers_seconds} s"
            raise unavailable(words, WORKERS_MISSING)
        context.tell(there, config.workers, "workers", "waiting for workers")
        time.sleep(0.5)
    return ray


def let_workers_go(context: Context, ray: Any, say: Callable[[str], None]) -> None:
    """The stage needs its workers no more: say so, and wait until they are gone.

    Where nobody takes them away, as without an operator, the stage goes on beside them after a while.
    """
    if in_pods():
        context.workers_done.set()
        say("lets the workers go")
        end = time.monotonic() + GOING_SECONDS
        while workers_alive(ray) and time.monotonic() < end:
            context.check_stop()
            time.sleep(0.5)
    ray.shutdown()


@contextmanager
def own_signals() -> Iterator[None]:
    """SIGTERM stays what it was. `ray.init` makes it end the process at once, and a stop would save nothing."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def in_pods() -> bool:
    """Whether each worker is a pod of its own; on one machine they are all there or none."""
    return os.environ.get("LLMTRAIN_ROLE") == "head"


@dataclass(frozen=True, order=True)
class Worker:
    """A worker pod that has joined: its index in the cluster, and Ray's id of its node."""

    index: int
    node: str


def workers_alive(ray: Any) -> list[Worker]:
    """Nodes that bring a CPU, by index; the head brings none."""
    there = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    return sorted(Worker(int(node["Labels"].get(INDEX_LABEL, 0)), str(node["NodeID"])) for node in there)

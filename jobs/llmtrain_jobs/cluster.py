"""The driver's way into Ray: the pod's cluster with all its workers, or one machine's own."""

import os
import time
from typing import Any

from llmtrain.api.stageconfig import RAY_PORT
from llmtrain_jobs.context import Context
from llmtrain_jobs.errors import unavailable


def connect(context: Context) -> Any:
    """Connect to Ray and wait for the workers; the `ray` module."""
    import ray

    config = context.config
    if os.environ.get("LLMTRAIN_ROLE") != "head":
        ray.init(num_cpus=config.workers, include_dashboard=False, log_to_driver=True)
        return ray
    ip = os.environ["LLMTRAIN_POD_IP"]
    ray.init(address=f"{ip}:{RAY_PORT}", _node_ip_address=ip, log_to_driver=True)
    end = time.monotonic() + config.wait_for_workers_seconds
    while (there := workers_alive(ray)) < config.workers:
        context.check_stop()
        if time.monotonic() > end:
            raise unavailable(f"{there} of {config.workers} workers joined within {config.wait_for_workers_seconds} s")
        context.tell(there, config.workers, "workers", "waiting for workers")
        time.sleep(0.5)
    return ray


def workers_alive(ray: Any) -> int:
    """Nodes that bring a CPU; the head brings none."""
    return sum(1 for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0)

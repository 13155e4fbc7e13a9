"""`llmtrain-operator`: wires clock, client, metrics and kopf together.

Environment: LLMTRAIN_JOBS_IMAGE (default image of stage pods), LLMTRAIN_NAMESPACES (comma-separated, empty: all),
LLMTRAIN_STAGE_NETWORK_POLICY (JSON of NetworkSettings), LLMTRAIN_METRICS_PORT (8080), LLMTRAIN_HEALTH_PORT (8081),
LLMTRAIN_LOG_LEVEL (INFO), LLMTRAIN_LOG_FORMAT (Text or Json), LLMTRAIN_OPERATOR_NAMESPACE (where the ledger is; empty: its account's).
"""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler

from llmtrain.network import serve
from llmtrain_operator.border import Rejections
from llmtrain_operator.client import connect
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.handlers import follow
from llmtrain_operator.health import Health
from llmtrain_operator.health import serve as serve_health
from llmtrain_operator.jobs import Jobs
from llmtrain_operator.jobwatch import JobWatch
from llmtrain_operator.ledger_format import NewerLedgerError, check_format, home_of
from llmtrain_operator.logs import TEXT, configure
from llmtrain_operator.metrics import OperatorMetrics, register_all, register_counts
from llmtrain_operator.network import NetworkSettings
from llmtrain_operator.orphans import Sweeper
from llmtrain_operator.podwatch import PodWatch
from llmtrain_operator.progress import ProgressReader
from llmtrain_operator.reconcile import Reconciler
from llmtrain_operator.rounds import Rounds
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.upkeep import Upkeep


def now() -> datetime:
    """Wall clock in UTC."""
    return datetime.now(UTC)


async def run() -> None:
    """Connect, serve metrics, watch."""
    cluster = await connect()
    registry, snapshots, rejections = CollectorRegistry(), Snapshots(now), Rejections()
    metrics = OperatorMetrics(registry, time.time, version("llmtrain"))
    register_all(registry, snapshots, Guard(Loop.SCRAPE, metrics.count_crash))
    serve(int(os.environ.get("LLMTRAIN_METRICS_PORT", "8080")), MetricsHandler.factory(registry))
    network = NetworkSettings.model_validate_json(os.environ.get("LLMTRAIN_STAGE_NETWORK_POLICY", "{}"))
    home = home_of(os.environ)
    reconciler = Reconciler(cluster, now, os.environ.get("LLMTRAIN_JOBS_IMAGE", ""), network, rejections, home)
    register_counts(registry, cluster, rejections, lambda: reconciler.ledgers.unbooked)
    health = Health(time.monotonic)
    jobs = Jobs(
        reconciler,
        snapshots,
        metrics,
        ProgressReader(rejections, partial(metrics.count_crash, Loop.PROGRESS.value)),
        time.monotonic,
        health,
    )
    metrics.queue_depth.set_function(jobs.waiting)
    serve_health(health, int(os.environ.get("LLMTRAIN_HEALTH_PORT", "8081")))
    await check_format(cluster, home)
    namespaces = [name for name in os.environ.get("LLMTRAIN_NAMESPACES", "").split(",") if name]
    guards = {loop: Guard(loop, metrics.count_crash) for loop in Loop}
    sweeper = Sweeper(cluster, reconciler.ledgers, namespaces, now, jobs.ensure, rejections, guards[Loop.SWEEP])
    rounds = Rounds(cluster, health, sweeper, metrics)
    upkeep = Upkeep(cluster, now, namespaces, snapshots, reconciler.ledgers, rejections, guards[Loop.UPKEEP])
    pods = PodWatch(
        cluster=cluster,
        namespaces=namespaces,
        tell=jobs.pod_told,
        wake_all=jobs.wake_all,
        heard=jobs.pods_heard,
        guard=guards[Loop.POD_WATCH],
        restored=jobs.forget_versions,
        leaving=sweeper.pod_leaves,
        left=sweeper.pod_left,
    )
    signals = Signals()
    by_kopf = partial(follow, jobs, namespaces, guards[Loop.JOB_WATCH], signals.take)
    watch = JobWatch(cluster, namespaces, by_kopf, signals.over.set)
    loops: dict[Loop, Callable[[], Coroutine[Any, Any, None]]] = {
        Loop.PULSE: rounds.pulse,
        Loop.PING: rounds.ping,
        Loop.SWEEP: rounds.sweep,
        Loop.UPKEEP: upkeep.run,
        Loop.POD_WATCH: pods.run,
        Loop.JOB_WATCH: watch.run,
    }
    try:
        await until_one_ends(signals.wait(), *(guards[loop].keep_running(start) for loop, start in loops.items()))
    finally:
        await jobs.close()


@dataclass
class Signals:
    """SIGTERM and SIGINT end the process. kopf takes them for itself each time it starts, so they are taken back."""

    over: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> None:
        """From now on they come here."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.over.set)

    async def wait(self) -> None:
        """Return at the first of them."""
        self.take()
        await self.over.wait()


async def until_one_ends(*each: Coroutine[Any, Any, None]) -> None:
    """None of them ends by itself but the wait for a signal, and none in a bug: each is kept running."""
    tasks = [asyncio.create_task(one) for one in each]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for task in done:
        task.result()


def spare_the_collector() -> None:
    """Look for cycles rarely: a turn parses thousands of dicts, none in a cycle; by default a fifth of all time went there.

    The middle generation is looked through often, for each time takes as long as it has grown: up to half a second once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 5, 200)


def main() -> None:
    """Entry point."""
    spare_the_collector()
    level = os.environ.get("LLMTRAIN_LOG_LEVEL", "INFO")
    configure(level, os.environ.get("LLMTRAIN_LOG_FORMAT", TEXT))
    try:
        asyncio.run(run())
    except NewerLedgerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

"""What the operator does beside the job loops: a pulse for the probes, and a sweep for what no event tells of."""

import asyncio
import logging
from dataclasses import dataclass

from llmtrain_operator.client import ApiError, KubernetesCluster
from llmtrain_operator.health import PULSE_SECONDS, Health
from llmtrain_operator.metrics import OperatorMetrics
from llmtrain_operator.orphans import Sweeper

log = logging.getLogger("llmtrain.operator")
PING_SECONDS = 30.0
SWEEP_SECONDS = 600.0
SWEEP_AGAIN_SECONDS = 15.0
FIRST_SWEEP_SECONDS = 30.0


@dataclass
class Rounds:
    """Runs until it is cancelled."""

    cluster: KubernetesCluster
    health: Health
    sweeper: Sweeper
    metrics: OperatorMetrics

    async def pulse(self) -> None:
        """Show that the event loop turns."""
        while True:
            self.health.beat()
            self.health.answering = self.cluster.answering
            await asyncio.sleep(PULSE_SECONDS)

    async def ping(self) -> None:
        """Ask the apiserver for something small, for where no job asks anything."""
        while True:
            await self.cluster.ping()
            await asyncio.sleep(PING_SECONDS if self.cluster.answering else PULSE_SECONDS)

    async def sweep(self) -> None:
        """Sweep every ten minutes, and soon again while orphans are left; in between look at pods that should have gone."""
        left = FIRST_SWEEP_SECONDS
        while True:
            pause = min(left, SWEEP_AGAIN_SECONDS)
            await asyncio.sleep(pause)
            left -= pause
            try:
                await self.sweeper.take_overdue()
                if left <= 0:
                    orphans = await self.sweeper.sweep()
                    self.metrics.orphans.set(orphans)
                    left = SWEEP_AGAIN_SECONDS if orphans else SWEEP_SECONDS
            except ApiError as error:
                log.warning("sweep: %s", error)
                left = max(SWEEP_AGAIN_SECONDS, error.retry_after)

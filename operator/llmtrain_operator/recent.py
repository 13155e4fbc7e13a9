"""Reads that many jobs share and that decide nothing costly, asked for once in a few seconds.

Prices are frozen into pods when they are made, reservations are conditional writes, and a plan that is a few seconds old
is what a turn a few seconds ago would have seen. Pods and jobs are never read through this.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from llmtrain_operator.client import Cluster, Object

FRESH = timedelta(seconds=5)
Key = tuple[str, str, str]


@dataclass
class Recent:
    """`get` of a cluster, at most one request a key in five seconds."""

    cluster: Cluster
    clock: Callable[[], datetime]
    _answers: dict[Key, tuple[datetime, Object | None]] = field(default_factory=dict)

    async def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """The object as it was at most five seconds ago, or None."""
        key, now = (resource, namespace, name), self.clock()
        asked, answer = self._answers.get(key, (None, None))
        if asked is not None and now - asked < FRESH:
            return answer
        self._forget(now)
        answer = await self.cluster.get(resource, namespace, name)
        self._answers[key] = (now, answer)
        return answer

    def _forget(self, now: datetime) -> None:
        """Answers that nobody asks for any more do not pile up."""
        old = [key for key, (asked, _) in self._answers.items() if now - asked >= 10 * FRESH]
        for key in old:
            del self._answers[key]

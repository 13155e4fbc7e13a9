"""Reads that many jobs share and that decide nothing costly, asked for once in a few seconds.

Prices are frozen into pods when they are made, reservations are conditional writes, and a plan that is a few seconds old
is what a turn a few seconds ago would have seen. That a node answers may be old news as well; that it does not ends
bills, and is always read anew. Pods and jobs are never read through this.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce

from llmtrain.api import API_VERSION
from llmtrain_operator.billing import Node
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Cluster, Found, Object, is_ahead, newer
from llmtrain_operator.nodes import PRESUMED, fetch_node
from llmtrain_operator.pricing import Plan

log = logging.getLogger("llmtrain.operator")
PLANS = f"apis/{API_VERSION}/computeplans"
FRESH = timedelta(seconds=5)
FRESH_BUDGETS = timedelta(seconds=1)
"""What is reserved of a budget is a conditional write to it, which an old view of it cannot get through."""
NODES_AT_ONCE = 10
"""A fifth of what the operator may have under way."""
Key = tuple[str, str, str]
View = tuple[datetime, Found]
"""What was read, and when it was asked for."""
Read = Callable[[str], Awaitable[Found]]


@dataclass
class Recent:
    """`get` of a cluster, at most one request a key in five seconds."""

    cluster: Cluster
    clock: Callable[[], datetime]
    _answers: dict[Key, tuple[datetime, Object | None]] = field(default_factory=dict)
    _plans: dict[str, Plan] = field(default_factory=dict)
    _under_way: dict[Key, "asyncio.Task[Object | None]"] = field(default_factory=dict)
    _nodes: dict[str, tuple[datetime, Node]] = field(default_factory=dict)
    """Nodes that were Ready, or could not be read, when they were asked for."""
    _nodes_under_way: dict[str, "asyncio.Task[Node]"] = field(default_factory=dict)
    _node_reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(NODES_AT_ONCE))
    _budgets: dict[str, View] = field(default_factory=dict)
    _held: dict[str, View] = field(default_factory=dict)
    """As those saw them who hold their reservations."""
    _refused: dict[str, tuple[datetime, ApiError]] = field(default_factory=dict)
    """Since when budgets cannot be read, and why."""
    _asking: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _eras: Counter[str] = field(default_factory=Counter)
    """How often the budgets of a namespace were forgotten."""

    async def nodes(self, names: Iterable[str]) -> dict[str, Node]:
        """Nodes with these names, as they are now, or as they were at most five seconds ago if they were Ready then.

        One that cannot be read is presumed to answer: no bill ends for that.
        """
        wanted = sorted(set(names))
        return dict(zip(wanted, await asyncio.gather(*map(self._node, wanted)), strict=True))

    async def _node(self, name: str) -> Node:
        asked, node = self._nodes.get(name, (None, PRESUMED))
        if asked is not None and self.clock() - asked < FRESH:
            return node
        if name not in self._nodes_under_way:
            self._nodes_under_way[name] = asyncio.create_task(self._fetch_node(name))
        return await asyncio.shield(self._nodes_under_way[name])

    async def _fetch_node(self, name: str) -> Node:
        """As it is now. That it is not Ready ends bills, and is not kept."""
        now, kept = self.clock(), True
        try:
            async with self._node_reads:
                node = await fetch_node(self.cluster, name)
            kept = node.ready
        except ApiError as error:
            log.warning("node %s: %s", name, error)
            node = PRESUMED
        finally:
            del self._nodes_under_way[name]
        self._nodes = {one: entry for one, entry in self._nodes.items() if now - entry[0] < FRESH}
        if kept:
            self._nodes[name] = now, node
        return node

    async def budgets(self, namespace: str) -> list[Object]:
        """TrainingBudgets of a namespace as they were at most a second ago, and never older than they were seen before.

        A stage that began on a reservation which had just been given back would be stopped at the next look, and paid for
        twice. So there is one read at a time, and none is kept that was under way when somebody wrote.
        """
        return await self._view(self._budgets, self._read_budgets, namespace)

    async def budgets_since(self, namespace: str) -> list[Object]:
        """The same for a job that holds its reservation: out of the apiserver's cache, as long as nobody has reserved.

        A live list waits until the cache of budgets, which hardly ever change, has heard of the newest write of anything:
        half a second where another job's pods are being created.
        """
        return await self._view(self._held, self._read_budgets_since, namespace)

    async def _view(self, views: dict[str, View], read: Read, namespace: str) -> list[Object]:
        async with self._asking[namespace]:
            now, era = self.clock(), self._eras[namespace]
            asked, found = views.get(namespace, (None, Found([])))
            if asked is None or now - asked >= FRESH_BUDGETS:
                found = await self._unless_refused(read, namespace)
                if era == self._eras[namespace]:
                    views[namespace] = now, found
            return found.items

    async def _unless_refused(self, read: Read, namespace: str) -> Found:
        """A namespace's jobs wait for each other here: an error is told to all who ask within seconds, after one try."""
        asked, refusal = self._refused.get(namespace, (None, None))
        if asked is not None and refusal is not None and self.clock() - asked < FRESH:
            raise refusal
        self._refused.pop(namespace, None)
        try:
            return await read(namespace)
        except ApiError as error:
            self._refused[namespace] = self.clock(), error
            raise

    def _read_budgets(self, namespace: str) -> Awaitable[Found]:
        return self.cluster.find(BUDGETS, namespace, "")

    def _read_budgets_since(self, namespace: str) -> Awaitable[Found]:
        """Nothing is known after a write: only a live read has it for certain."""
        seen = [views[namespace][1].version for views in (self._budgets, self._held) if namespace in views]
        if not seen:
            return self._read_budgets(namespace)
        return self._read_budgets_as_new_as(namespace, reduce(newer, seen))

    async def _read_budgets_as_new_as(self, namespace: str, version: str) -> Found:
        """Live where the apiserver has no such version: etcd may have been restored from a backup."""
        try:
            return await self.cluster.find_since(BUDGETS, namespace, "", version)
        except ApiError as error:
            if not is_ahead(error):
                raise
        self.forget_budgets(namespace)
        return await self._read_budgets(namespace)

    def forget_budgets(self, namespace: str) -> None:
        """Somebody has reserved, or tried to."""
        self._budgets.pop(namespace, None)
        self._held.pop(namespace, None)
        self._eras[namespace] += 1

    def forget_all_budgets(self) -> None:
        """No version that is known means anything any more."""
        for namespace in {*self._budgets, *self._held}:
            self.forget_budgets(namespace)

    async def plan(self, name: str) -> Plan | None:
        """The plan as it was at most five seconds ago, or None."""
        raw = await self.get(PLANS, "", name)
        if raw is None:
            return None
        known = self._plans.get(name)
        if known is None or known.resource_version != raw["metadata"]["resourceVersion"]:
            known = self._plans[name] = Plan.read(raw)
        return known

    def last_plan(self, name: str) -> Plan | None:
        """The plan as it was last read, however long ago."""
        return self._plans.get(name)

    async def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """The object as it was at most five seconds ago, or None; as the answer to a request has it that is under way already."""
        key, now = (resource, namespace, name), self.clock()
        asked, answer = self._answers.get(key, (None, None))
        if asked is not None and now - asked < FRESH:
            return answer
        self._forget(now)
        if key not in self._under_way:
            self._under_way[key] = asyncio.create_task(self._get(key, now))
        return await asyncio.shield(self._under_way[key])

    async def _get(self, key: Key, now: datetime) -> Object | None:
        try:
            answer = await self.cluster.get(*key)
        finally:
            del self._under_way[key]
        self._answers[key] = (now, answer)
        return answer

    def _forget(self, now: datetime) -> None:
        """Answers that nobody asks for any more do not pile up."""
        old = [key for key, (asked, _) in self._answers.items() if now - asked >= 10 * FRESH]
        for key in old:
            del self._answers[key]

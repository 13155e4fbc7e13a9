"""What a namespace has spent, kept beyond its jobs: one ConfigMap, in which each job is booked once, by uid."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmtrain.api import API_VERSION
from llmtrain_operator.client import ApiError, Cluster, Object
from llmtrain_operator.names import LABEL_JOB, LEDGER_CONFIG_MAP
from llmtrain_operator.observation import Job

CONFIG_MAPS = "api/v1/configmaps"
PODS = "api/v1/pods"
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
KEY = "ledger.json"
TRIES = 10
REMEMBERED = 500
"""Uids that are kept without asking whether their objects are still there."""
FIELDS = ("pods", "podSeconds", "billedSeconds", "acceleratorSeconds", "costMicroUsd")

Book = dict[str, Any]
Entries = list[dict[str, Any]]


def empty() -> Book:
    """A ledger in which nothing is booked."""
    return {"totals": [], "settledJobs": []}


def add_job(book: Book, uid: str, entries: Entries) -> Book:
    """The ledger with this job's entries; unchanged where its uid is booked already."""
    if uid in book["settledJobs"]:
        return book
    totals = {(t["stage"], t["role"], t["plan"], t["tenure"]): dict(t) for t in book["totals"]}
    for entry in entries:
        key = (entry["stage"], entry["role"], entry["plan"], entry["tenure"])
        total = totals.setdefault(key, dict(zip(("stage", "role", "plan", "tenure"), key, strict=True)))
        for name in FIELDS:
            total[name] = total.get(name, 0) + entry[name]
    return {"totals": list(totals.values()), "settledJobs": [*book["settledJobs"], uid]}


def forget(book: Book, there: Collection[str]) -> Book:
    """The ledger without the uids, the newest left aside, whose objects are gone: nobody can book those again."""
    old, new = book["settledJobs"][:-REMEMBERED], book["settledJobs"][-REMEMBERED:]
    return book | {"settledJobs": [uid for uid in old if uid in there] + new}


def read_book(config_map: Object | None) -> Book:
    """The ledger in a ConfigMap."""
    text = ((config_map or {}).get("data") or {}).get(KEY)
    book: Book = json.loads(text) if text else empty()
    return book


@dataclass
class Ledgers:
    """Books jobs. Those that are deleted at once share a write instead of fighting over the one ConfigMap."""

    cluster: Cluster
    _waiting: dict[str, dict[str, Entries]] = field(default_factory=lambda: defaultdict(dict))
    _writing: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def book_job(self, job: Job) -> None:
        """Book a job's settled total."""
        await self.book(job.namespace, job.uid, [entry.to_dict() for entry in job.status.ledger.entries])

    async def book(self, namespace: str, uid: str, entries: Entries) -> None:
        """Book entries once under a uid; they are in the ConfigMap when this returns."""
        waiting = self._waiting[namespace]
        waiting[uid] = entries
        try:
            async with self._writing[namespace]:
                if uid in waiting:
                    batch = dict(waiting)
                    await self._write_all(namespace, batch)
                    for written in batch:
                        waiting.pop(written, None)
        finally:
            waiting.pop(uid, None)

    async def _write_all(self, namespace: str, batch: Mapping[str, Entries]) -> None:
        """A conditional write, read and tried again where somebody was faster."""
        for _ in range(TRIES):
            found = await self.cluster.get(CONFIG_MAPS, namespace, LEDGER_CONFIG_MAP)
            before = after = read_book(found)
            for uid, entries in batch.items():
                after = add_job(after, uid, entries)
            if after == before:
                return
            if len(after["settledJobs"]) > 2 * REMEMBERED:
                after = forget(after, await self._there(namespace))
            try:
                await _write(self.cluster, namespace, found, after)
            except ApiError as error:
                if error.code != 409:
                    raise
            else:
                return
        raise ApiError(409, "Conflict", f"ConfigMap {LEDGER_CONFIG_MAP} kept changing")

    async def _there(self, namespace: str) -> set[str]:
        """Uids of the namespace's jobs and of their pods: a pod without a job is booked under its own."""
        jobs = await self.cluster.list_metadata(JOBS, namespace, "")
        pods = await self.cluster.list_metadata(PODS, namespace, LABEL_JOB)
        return {found["metadata"]["uid"] for found in [*jobs, *pods]}


async def _write(cluster: Cluster, namespace: str, found: Object | None, book: Book) -> None:
    data = {KEY: json.dumps(book, sort_keys=True)}
    if found is not None:
        await cluster.replace(CONFIG_MAPS, namespace, LEDGER_CONFIG_MAP, {**found, "data": data})
        return
    metadata = {"name": LEDGER_CONFIG_MAP, "namespace": namespace}
    await cluster.create(
        CONFIG_MAPS, namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    )

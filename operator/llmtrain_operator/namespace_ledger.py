"""What a namespace has spent, kept beyond its jobs: one ConfigMap, in which each job is booked once, by uid."""

import json
from typing import Any

from llmtrain_operator.client import ApiError, Cluster, Object
from llmtrain_operator.names import LEDGER_CONFIG_MAP
from llmtrain_operator.observation import Job

CONFIG_MAPS = "api/v1/configmaps"
KEY = "ledger.json"
TRIES = 10
REMEMBERED_JOBS = 500
FIELDS = ("pods", "podSeconds", "billedSeconds", "acceleratorSeconds", "costMicroUsd")

Book = dict[str, Any]


def empty() -> Book:
    """A ledger in which nothing is booked."""
    return {"totals": [], "settledJobs": []}


def add_job(book: Book, uid: str, entries: list[dict[str, Any]]) -> Book:
    """The ledger with this job's entries; unchanged where its uid is booked already."""
    if uid in book["settledJobs"]:
        return book
    totals = {(t["stage"], t["role"], t["plan"], t["tenure"]): dict(t) for t in book["totals"]}
    for entry in entries:
        key = (entry["stage"], entry["role"], entry["plan"], entry["tenure"])
        total = totals.setdefault(key, dict(zip(("stage", "role", "plan", "tenure"), key, strict=True)))
        for field in FIELDS:
            total[field] = total.get(field, 0) + entry[field]
    return {"totals": list(totals.values()), "settledJobs": [*book["settledJobs"], uid][-REMEMBERED_JOBS:]}


def read_book(config_map: Object | None) -> Book:
    """The ledger in a ConfigMap."""
    text = ((config_map or {}).get("data") or {}).get(KEY)
    book: Book = json.loads(text) if text else empty()
    return book


async def book_job(cluster: Cluster, job: Job) -> None:
    """Book a job's settled total."""
    await book_entries(cluster, job.namespace, job.uid, [entry.to_dict() for entry in job.status.ledger.entries])


async def book_entries(cluster: Cluster, namespace: str, uid: str, entries: list[dict[str, Any]]) -> None:
    """Book entries once under a uid: a conditional write, read and tried again where somebody was faster."""
    for _ in range(TRIES):
        found = await cluster.get(CONFIG_MAPS, namespace, LEDGER_CONFIG_MAP)
        before = read_book(found)
        after = add_job(before, uid, entries)
        if after == before:
            return
        try:
            await _write(cluster, namespace, found, after)
        except ApiError as error:
            if error.code != 409:
                raise
        else:
            return
    raise ApiError(409, "Conflict", f"ConfigMap {LEDGER_CONFIG_MAP} kept changing")


async def _write(cluster: Cluster, namespace: str, found: Object | None, book: Book) -> None:
    data = {KEY: json.dumps(book, sort_keys=True)}
    if found is not None:
        await cluster.replace(CONFIG_MAPS, namespace, LEDGER_CONFIG_MAP, {**found, "data": data})
        return
    metadata = {"name": LEDGER_CONFIG_MAP, "namespace": namespace}
    await cluster.create(
        CONFIG_MAPS, namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    )

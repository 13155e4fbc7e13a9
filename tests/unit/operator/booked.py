"""What the ledger in the operator's namespace holds, read by a few lines of its own."""

import json
from typing import Any

from llmtrain_operator.namespace_ledger import Ledgers
from llmtrain_operator.recent import Recent

from tests.unit.operator.fake_cluster import FakeCluster

HOME = "default"


def pages(cluster: FakeCluster, namespace: str = "team-a") -> list[dict[str, Any]]:
    """Every page of every month of a namespace, in order."""
    found = [body for (kind, home, _), body in cluster.objects.items() if (kind, home) == ("api/v1/configmaps", HOME)]
    mine = [one for one in found if one["metadata"].get("labels", {}).get("llmtrain.dev/namespace") == namespace]
    documents = [json.loads(one["data"]["ledger.json"]) for one in mine]
    return sorted((one for one in documents if one["kind"] == "Month"), key=lambda one: (one["month"], one["page"]))


def bookings(cluster: FakeCluster, namespace: str = "team-a") -> list[dict[str, Any]]:
    return [booking for page in pages(cluster, namespace) for booking in page.get("bookings", [])]


def booked_micro_usd(cluster: FakeCluster, namespace: str = "team-a") -> int:
    return sum(row.get("costMicroUsd", 0) for booking in bookings(cluster, namespace) for row in booking["rows"])


def ledgers(cluster: FakeCluster) -> Ledgers:
    """As an operator that has just started has them."""
    return Ledgers(cluster, Recent(cluster, cluster.clock), HOME, cluster.clock)

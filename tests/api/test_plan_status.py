"""`kubectl get computeplans` on a real apiserver: what does an hour cost here."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from llmtrain_operator.client import KubernetesCluster, connect
from llmtrain_operator.namespace_ledger import Ledgers
from llmtrain_operator.recent import Recent
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.upkeep import Upkeep

from tests.api.conftest import ROOT, Api

DAY = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
async def cluster(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesCluster]:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    cluster = await connect()
    yield cluster
    await cluster.close()


async def test_the_table_says_what_an_hour_costs_and_whether_the_price_is_stale(
    api: Api, cluster: KubernetesCluster
) -> None:
    for plan in yaml.safe_load_all(Path(ROOT, "demo", "plans.yaml").read_text()):
        api.apply(plan)
    ledgers = Ledgers(cluster, Recent(cluster, lambda: DAY), "default", lambda: DAY)
    upkeep = Upkeep(cluster, lambda: DAY, [], Snapshots(lambda: DAY), ledgers)
    await upkeep.look()
    table = api.run("get", "computeplans").stdout.splitlines()
    header, rows = table[0], {line.split()[0]: line.split() for line in table[1:]}
    assert "USD/ACCELERATOR-HOUR" in header
    # Listed at 3.99 on 2026-03-01, which is more than 90 days ago; the owned hour is the published 3.14.
    assert rows["h100-rented"][1:5] == ["Rented", "H100-SXM-80GB", "3.99", "True"]
    assert rows["h100-rented"][5] == "False"
    assert rows["h100-owned"][3].startswith("3.14")
    assert "0.031611" in rows["cpu"]
    before = api.get("computeplans")["items"]
    await upkeep.look()
    assert [p["metadata"]["resourceVersion"] for p in api.get("computeplans")["items"]] == [
        p["metadata"]["resourceVersion"] for p in before
    ]

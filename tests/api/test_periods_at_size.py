"""A month of a thousand jobs of thirty pods on a real apiserver: how large its documents are, what booking, closing and exporting take."""

import asyncio
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from llmtrain_operator.client import connect
from llmtrain_operator.closing import Closing
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.namespace_ledger import Ledgers
from llmtrain_operator.recent import Recent

from llmtrain.api.status import Stage
from llmtrain.ledger.document import Booking, Row
from tests.api.account import audit_size
from tests.api.conftest import Api
from tests.api.programs import folder
from tests.api.test_periods import FAR, LARGEST, LAST, NEAR, by_job, make_space, name_of, rows, stamp

MANY = "months-many"
JOBS, ROLES = 1000, ("head", "worker")
NODES = [f"ip-10-0-{number // 200}-{number % 200}.eu-west-1.compute.internal" for number in range(2000)]


def booking(number: int) -> Booking:
    """A deleted job of 30 pods on 30 nodes of 2,000, in three stages, that lies in two months."""

    def row(stage: Stage, role: Any, month: str, pods: int) -> Row:
        cost = 1000 * (number + 1) + 17 * pods
        split, money = (
            {"waiting": 40, "starting": 60, "working": 3500},
            {"waiting": 7, "starting": 9, "working": cost - 16},
        )
        return Row(stage=stage, role=role, plan="coarse", tenure="Rented", pods=pods, pod_seconds=3600, billed_seconds=3600,
                   accelerator_seconds=3600, cost_micro_usd=cost, energy_joules=10**6, split=split, cost_split=money,
                   start_time=stamp(NEAR), end_time=stamp(NEAR + timedelta(days=2)), month=month)  # fmt: skip

    found = [row(stage, role, name_of(NEAR), pods) for stage in (Stage.CURATION, Stage.TRAINING, Stage.EVALUATION)
             for role, pods in zip(ROLES, (1, 9), strict=True)]  # fmt: skip
    found += [row(Stage.TRAINING, role, name_of(FAR), 0) for role in ROLES]
    nodes = {NODES[(number * 31 + pod) % len(NODES)]: (100 + pod, 16 + pod) for pod in range(30)}
    uid = f"00000000-0000-4000-8000-{number:012}"
    return Booking(kind="Job", uid=uid, job=f"job-{number}", job_uid=uid, created=stamp(NEAR), deleted=stamp(LAST), rows=found,
                   labels={"cost-centre": f"team-{number % 40}"}, waste_by_node=nodes,
                   waste_by_cause={"Start": (3000, 300), "Completed": (135, 615)})  # fmt: skip


def requests_since(api: Api, since: int) -> int:
    """That kubectl has sent."""
    with Path(api.kubeconfig).with_name("audit.log").open() as file:
        file.seek(since)
        return sum('"userAgent":"kubectl' in line for line in file)


@pytest.mark.timeout(600)
async def test_a_month_of_a_thousand_jobs_of_thirty_pods_is_a_few_documents(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    monkeypatch.setenv("PATH", f"{folder()}:{os.environ['PATH']}")
    home = f"{MANY}-home"
    for space in (MANY, home):
        make_space(api, space)
    cluster, clock = await connect(), partial(datetime.now, UTC)
    ledgers, more = Ledgers(cluster, Recent(cluster, clock), home, clock), [booking(number) for number in range(JOBS)]
    begun, used = time.monotonic(), time.process_time()
    await asyncio.gather(*(ledgers.book(MANY, one) for one in more))
    booked = time.monotonic() - begun
    await Closing(cluster, home, clock, Guard(Loop.UPKEEP)).look([MANY])
    closing, used = time.monotonic() - begun - booked, time.process_time() - used
    await cluster.close()
    pages = api.get("configmaps", "-n", home, "-l", "llmtrain.dev/ledger")["items"]
    sizes = sorted(len(one["data"]["ledger.json"]) for one in pages)
    kinds = [one["metadata"]["labels"]["llmtrain.dev/ledger"] for one in pages]
    since, begun, told = audit_size(api), time.monotonic(), {}
    for month in (FAR, NEAR):
        command = [sys.executable, "-c", "from llmtrain.cli.main import main; main()", "ledger", "export", "-n", MANY,
                   "--period", name_of(month), "--operator-namespace", home]  # fmt: skip
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        told[month] = rows(done.stdout)
    taken, requests = (time.monotonic() - begun) / 2, requests_since(api, since) / 2
    print(
        f"{JOBS} jobs of 30 pods: {kinds.count('Month')} pages of bookings, {kinds.count('Closed')} of two closed months, "
        f"largest {sizes[-1]} B, together {sum(sizes)} B; booked in {booked:.1f} s, closed in {closing:.1f} s, {used:.1f} s of CPU for both; an export of a "
        f"month: {len(told[NEAR])} rows in {taken:.1f} s, {requests:.0f} requests"
    )
    for month, found in told.items():
        mine = [row for one in more for row in one.rows if row.month == name_of(month)]
        assert sum(by_job(found).values()) == sum(row.cost_micro_usd for row in mine)
        assert {row["state"] for row in found} == {"Closed"}
    assert len(told[NEAR]) == 6 * JOBS
    assert sizes[-1] < LARGEST

"""Months of the ledger on a real apiserver: operator and command line are the real ones, pods' times are the test's.

The bill is worked out a second time, from what the kubelet of this test wrote into the pods, in fractions.
"""

import asyncio
import csv
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from llmtrain_operator.client import ApiError, KubernetesCluster, connect
from typer.testing import CliRunner, Result

from llmtrain.cli.main import app
from tests.api.account import operator
from tests.api.conftest import Api
from tests.api.kubelet import NODE, PODS, Kubelet, ready_node
from tests.api.programs import folder
from tests.api.test_rights import until
from tests.unit.operator.scenario import cluster as cluster_spec
from tests.unit.operator.scenario import job_spec

SPACE, AGAIN, HOME = "months", "months-again", "months-home"
GROUP = "llmtrain.dev/v1alpha1"
KINDS = "configmaps,services,secrets,networkpolicies,llmtrainingjobs,pods,serviceaccounts"
RULES = {"fine": (1, 0), "coarse": (60, 3600)}
"""Increment and minimum of the plans, seconds."""
LARGEST = 512 * 1024


def begin_of(back: int) -> datetime:
    """The first moment of the month so many months ago, UTC."""
    today = datetime.now(UTC)
    number = 12 * today.year + today.month - 1 - back
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


OPEN, LAST, NEAR, FAR = begin_of(0), begin_of(1), begin_of(2), begin_of(3)
"""This month, the last one, and two that are over for a week on any day."""


def name_of(month: datetime) -> str:
    return f"{month:%Y-%m}"


def end_of(month: datetime) -> datetime:
    return (month + timedelta(days=32)).replace(day=1)


@dataclass
class Life:
    """A pod as its node tells of it; `end` None: it runs. `due`: when it will have ended once that is asked for; None: then."""

    space: str
    job: str
    plan: str
    hour: int
    start: datetime
    end: datetime | None
    due: datetime | None

    def accrued(self, until: datetime) -> int:
        """Microdollars by a moment: whole increments, the minimum at least, by the hour."""
        assert self.end is not None
        seconds = max(0, int((min(until, self.end) - self.start).total_seconds()))
        step, least = RULES[self.plan]
        billed = max(least, -(-seconds // step) * step) if seconds else 0
        return round(Fraction(billed * self.hour, 3600))

    def of_month(self, month: datetime) -> int:
        return self.accrued(end_of(month)) - self.accrued(month)


Span = tuple[datetime, int]
SPANS: dict[str, dict[str, Span]] = {
    "over": {"": (FAR + timedelta(days=3), 600), "Training": (NEAR - timedelta(minutes=10), 1234)},
    "least": {
        "": (NEAR + timedelta(days=3), 70),
        "Training-head": (LAST - timedelta(seconds=20), 10),
        "Training-worker": (LAST - timedelta(seconds=20), 3645),
    },
    "vanish": {"": (NEAR + timedelta(days=4), 777), "Training": (LAST - timedelta(hours=1), 7200)},
    "long": {"": (LAST + timedelta(days=3), 60), "Training": (OPEN - timedelta(minutes=10), 0)},
    "again": {"": (FAR + timedelta(days=5), 1000)},
    "anew": {"": (NEAR + timedelta(days=5), 1000)},
    "late": {"": (FAR + timedelta(days=8), 501), "Training": (LAST - timedelta(minutes=1), 100)},
}
"""When pods of a job began, and for how many seconds they were there, by stage and role."""
WORKERS = {"Preflight": 0, "Curation": 1, "Training": 2, "Evaluation": 2}
RUNS_ON = ("vanish", "long")
"""Jobs whose trainings run until they are told to end."""


class Past(Kubelet):
    """Pods ended in months that are over; the first training of some runs on. A worker says so once it is deleted: it outlives its head."""

    def __init__(self, cluster: KubernetesCluster, namespace: str, lives: dict[str, Life]) -> None:
        super().__init__(cluster, namespace)
        self.lives = lives

    async def run(self) -> None:
        """Heads begin, and end, once their workers are bound: these are deleted then, and no kubelet has a pod that is not bound."""
        while True:
            pods = (await self.cluster.find(PODS, self.namespace, "app.kubernetes.io/managed-by")).items
            bound = Counter(cluster_of(pod) for pod in pods if pod["spec"].get("nodeName"))
            for pod in pods:
                early = is_head(pod) and bound[cluster_of(pod)] < WORKERS[cluster_of(pod)[1]]
                with suppress(ApiError):
                    await self.look(pod, early)
            await asyncio.sleep(0.3)

    async def look(self, pod: dict[str, Any], early: bool = False) -> None:
        meta, life = pod["metadata"], self.lives.get(pod["metadata"]["uid"])
        if "deletionTimestamp" in meta:
            if life is not None and life.end is None:
                end = life.due or datetime.now(UTC).replace(microsecond=0)
                await self.set_status(pod, self.over(pod, life.start, end))
                life.end = end
            await self.cluster.delete(PODS, self.namespace, meta["name"], meta["uid"], 0)
        elif life is None and not early:
            await self.begin(pod)

    async def begin(self, pod: dict[str, Any]) -> None:
        """Its whole life in one report, before it is bound: nobody sees it at another time."""
        labels, price = pod["metadata"]["labels"], json.loads(pod["metadata"]["annotations"]["llmtrain.dev/price"])
        job, stage, role = (labels[f"llmtrain.dev/{key}"] for key in ("job", "stage", "role"))
        spans = SPANS[job]
        start, seconds = next(spans[key] for key in (f"{stage}-{role}", stage, "") if key in spans)
        runs = stage == "Training" and job in RUNS_ON
        due = None if (job, stage) == ("long", "Training") else start + timedelta(seconds=seconds)
        end = None if runs or role == "worker" else due
        status = self.over(pod, start, end) if end else self.alive(start)
        await self.set_status(pod, status)
        life = Life(self.namespace, job, price["plan"], int(price["microUsdPerHour"]), start, end, due)
        self.lives[pod["metadata"]["uid"]] = life
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        name = pod["metadata"]["name"]
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        await self.cluster._send("POST", f"/api/v1/namespaces/{self.namespace}/pods/{name}/binding", binding)

    def alive(self, start: datetime) -> dict[str, Any]:
        running = self.container({"running": {"startedAt": stamp(start)}})
        return {"phase": "Running", "conditions": [scheduled(start)], "containerStatuses": [running]}

    def over(self, pod: dict[str, Any], start: datetime, end: datetime) -> dict[str, Any]:
        labels = pod["metadata"]["labels"]
        deleted = "deletionTimestamp" in pod["metadata"]
        head = labels["llmtrain.dev/role"] == "head" and not deleted
        status = super().ended(pod, 75 if deleted else 0, result_of(labels["llmtrain.dev/stage"]) if head else "")
        told = status["containerStatuses"][0]["state"]["terminated"]
        told |= {"startedAt": stamp(start), "finishedAt": stamp(end)}
        return {"conditions": [scheduled(start)]} | status


def cluster_of(pod: dict[str, Any]) -> tuple[str, str]:
    """Its job and stage; each has one attempt."""
    labels = pod["metadata"]["labels"]
    return labels["llmtrain.dev/job"], labels["llmtrain.dev/stage"]


def is_head(pod: dict[str, Any]) -> bool:
    return bool(pod["metadata"]["labels"]["llmtrain.dev/role"] == "head")


def result_of(stage: str) -> str:
    artifact = {"Curation": "c1", "Training": "t1", "Evaluation": "e1"}.get(stage, "")
    return json.dumps({"outcome": "Succeeded", "artifact": artifact, "workingSeconds": 1})


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def scheduled(moment: datetime) -> dict[str, str]:
    return {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(moment)}


@dataclass
class World:
    """The apiserver, and what its pods have cost."""

    api: Api
    lives: dict[str, Life]

    def job(self, name: str, space: str) -> None:
        body = job_spec() | {"maxPodLifetimeSeconds": 31536000, "retry": {"limit": 0}}
        body["curation"]["cluster"] = cluster_spec("fine", 1)
        for stage in ("training", "evaluation"):
            body[stage]["cluster"] = cluster_spec("coarse", 2, 1)
        body["comparePlans"] = ["coarse"]
        metadata = {"name": name, "namespace": space, "labels": {"cost-centre": f"of-{name}"}}
        self.api.apply({"apiVersion": GROUP, "kind": "LLMTrainingJob", "metadata": metadata, "spec": body})

    def states(self, space: str) -> dict[str, str]:
        items = self.api.get("llmjob", "-n", space)["items"]
        return {item["metadata"]["name"]: item.get("status", {}).get("state", "") for item in items}

    def expected(self, space: str, month: datetime, but: Sequence[str] = ()) -> dict[str, int]:
        """Microdollars by job."""
        sums: dict[str, int] = defaultdict(int)
        for life in self.lives.values():
            if life.space == space and life.job not in but:
                sums[life.job] += life.of_month(month)
        return {job: micro for job, micro in sums.items() if micro}

    def closed(self, space: str, month: datetime) -> list[dict[str, Any]]:
        labels = f"llmtrain.dev/ledger=Closed,llmtrain.dev/namespace={space},llmtrain.dev/ledger-month={name_of(month)}"
        found: list[dict[str, Any]] = self.api.get("configmaps", "-n", HOME, "-l", labels)["items"]
        return found


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--operator-namespace", HOME])


def export(space: str, month: datetime, *more: str) -> str:
    done = cli("ledger", "export", "-n", space, "--period", name_of(month), *more)
    assert done.exit_code == 0, done.output
    return done.stdout


def exports(space: str, *months: datetime) -> dict[tuple[str, ...], str]:
    """All forms of some months."""
    forms = ((), ("-o", "focus"), ("--group-by", "cost-centre"))
    return {(name_of(month), *form): export(space, month, *form) for month in months for form in forms}


def rows(text: str) -> list[dict[str, str]]:
    found = list(csv.DictReader(io.StringIO(text)))
    assert len({row["rowId"] for row in found}) == len(found)
    return found


def micro(text: str) -> int:
    return int(Decimal(text) * 1_000_000)


def by_job(found: Iterable[dict[str, str]]) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for row in found:
        sums[row["job"]] += micro(row["costUsd"])
    return {job: cost for job, cost in sums.items() if cost}


def whole(space: str) -> int:
    """The ledger of all time."""
    done = cli("ledger", "export", "-n", space)
    assert done.exit_code == 0, done.output
    return sum(by_job(rows(done.stdout)).values())


@asynccontextmanager
async def kubelets(lives: dict[str, Life]) -> AsyncIterator[None]:
    cluster = await connect()
    tasks = [asyncio.create_task(Past(cluster, space, lives).run()) for space in (SPACE, AGAIN)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await cluster.close()
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


def prepare(api: Api, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    monkeypatch.setenv("PATH", f"{folder()}:{os.environ['PATH']}")
    for space in (SPACE, AGAIN, HOME):
        make_space(api, space)
    for plan, (step, least) in RULES.items():
        prices = {"cpuHourUsd": "0.031611", "memoryGibHourUsd": "0.004237"}
        rented = prices | {"incrementSeconds": step, "minimumSeconds": least}
        spec: dict[str, Any] = {"tenure": "Rented", "rented": rented}
        if plan == "coarse":
            rented["acceleratorHourUsd"] = "3.99"
            spec["accelerator"] = {"product": "H100-SXM-80GB"}
        api.apply({"apiVersion": GROUP, "kind": "ComputePlan", "metadata": {"name": plan}, "spec": spec})
    api.apply(ready_node())
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "A"}
    api.set_status("node", NODE, {"status": {"conditions": [condition | {"message": ""}]}})
    return World(api, {})


def make_space(api: Api, space: str) -> None:
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": space}})


def collect(api: Api, space: str) -> bool:
    """What the namespace controller does."""
    api.run("delete", KINDS, "--all", "-n", space, "--wait=false")
    if api.get(KINDS, "-n", space)["items"]:
        return False
    body = api.get("namespace", space) | {"spec": {"finalizers": []}}
    api.run("replace", "--raw", f"/api/v1/namespaces/{space}/finalize", "-f", "-", body=body)
    return api.run("get", "namespace", space).returncode != 0


async def looked(api: Api, port: int) -> None:
    """The operator has looked for months to close, as it does each quarter of an hour: none is closed amid what follows.

    It reads plans at the beginning of each round. So the round before the one that tells of a new plan is over.
    """

    def told(plan: str) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                return f'plan="{plan}"' in answer.read().decode()
        except OSError:
            return False

    await until("a first round", partial(told, "coarse"), 60)
    rented = {"acceleratorHourUsd": "1"}
    spec = {"tenure": "Rented", "accelerator": {"product": "H100-SXM-80GB"}, "rented": rented}
    api.apply({"apiVersion": GROUP, "kind": "ComputePlan", "metadata": {"name": "new"}, "spec": spec})
    await until("a second round", partial(told, "new"), 60)


async def live(world: World) -> None:
    """Everything of the past: a job that is deleted, one that vanishes, a namespace that goes and comes back."""
    api = world.api
    for name in ("over", "least", "vanish", "long"):
        world.job(name, SPACE)
    world.job("again", AGAIN)
    wanted = {"over": "Succeeded", "least": "Succeeded", "vanish": "Running", "long": "Running"}
    await until("the jobs", lambda: world.states(SPACE) == wanted, 300)
    await until("the job of the namespace", lambda: world.states(AGAIN) == {"again": "Succeeded"}, 60)
    await until("trainings that run", lambda: sum(life.end is None for life in world.lives.values()) == 6, 30)
    assert api.run("delete", "llmjob", "over", "-n", SPACE, "--wait=false").returncode == 0
    assert api.run("delete", "namespace", AGAIN, "--wait=false").returncode == 0
    strip = '{"metadata": {"finalizers": null}}'
    assert api.run("delete", "llmjob", "vanish", "-n", SPACE, "--wait=false", "--cascade=orphan").returncode == 0
    api.run("patch", "llmjob", "vanish", "-n", SPACE, "--type=merge", "-p", strip)
    await until("the namespace's end", partial(collect, api, AGAIN), 60)
    make_space(api, AGAIN)
    world.job("anew", AGAIN)
    mine = ("-n", SPACE, "-l", "llmtrain.dev/job=vanish")
    api.run("delete", "pods", *mine, "--wait=false")
    await until("the end of pods without a job", lambda: not api.get("pods", *mine)["items"], 90)
    await until("the new job", lambda: world.states(AGAIN) == {"anew": "Succeeded"}, 60)
    await until("one job that runs", lambda: set(world.states(SPACE)) == {"least", "long"}, 30)


def check_closed(world: World, but: Sequence[str]) -> None:
    for space in (SPACE, AGAIN):
        for month in (FAR, NEAR):
            found = rows(export(space, month))
            assert {row["state"] for row in found} == {"Closed"}
            assert by_job(found) == world.expected(space, month, but), (space, month)


@pytest.mark.timeout(900)
async def test_months_are_closed_told_and_corrected(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = prepare(api, monkeypatch)
    settings = {"LLMTRAIN_OPERATOR_NAMESPACE": HOME, "LLMTRAIN_NAMESPACES": f"{SPACE},{AGAIN}"}

    def start(log: Path) -> AbstractContextManager[dict[str, int]]:
        return operator(api.kubeconfig, log, **settings)

    async with kubelets(world.lives):
        with start(tmp_path / "first") as ports:
            await looked(api, ports["metrics"])
            await live(world)
        with start(tmp_path / "second"):
            for space in (SPACE, AGAIN):
                await until("closed months", partial(world.closed, space, NEAR), 60)
            check_closed(world, but=["long", "late"])
            assert {row["state"] for row in rows(export(SPACE, LAST))} == {"Open"}, "a pod runs on"
            told = {space: exports(space, FAR, NEAR) for space in (SPACE, AGAIN)}
            assert {space: exports(space, FAR, NEAR) for space in told} == told
            world.job("late", SPACE)
            await until("a late find", lambda: world.states(SPACE).get("late") == "Succeeded", 180)
            assert exports(SPACE, FAR, NEAR) == told[SPACE]
            check_corrections(world)
            check_finance(world, tmp_path)
            gone = world.closed(AGAIN, NEAR)
            assert api.run("delete", "configmap", gone[0]["metadata"]["name"], "-n", HOME).returncode == 0
            assert {row["state"] for row in rows(export(AGAIN, NEAR))} == {"Open"}
            assert whole(AGAIN) == sum(sum(world.expected(AGAIN, month).values()) for month in (FAR, NEAR))
            stop = '{"spec": {"suspend": true}}'
            api.run("patch", "llmjob", "long", "-n", SPACE, "--type=merge", "-p", stop)
            await until("nothing that runs", lambda: world.states(SPACE)["long"] == "Suspended", 60)
        check_edited_by_hand(world, told[SPACE])
        with start(tmp_path / "third"):
            await until("the month that was deleted", partial(world.closed, AGAIN, NEAR), 60)
            if datetime.now(UTC) >= OPEN + timedelta(days=7):
                await until("the last month", partial(world.closed, SPACE, LAST), 60)
            assert {space: exports(space, FAR, NEAR) for space in told} == told
            check_all(world)
    documents = api.get("configmaps", "-n", HOME, "-l", "llmtrain.dev/ledger")["items"]
    assert max(len(json.dumps(one["data"])) for one in documents) < LARGEST


def check_corrections(world: World) -> None:
    """What the late job cost in closed months lies in the first open one, each beside the month that it is of."""
    found = rows(export(SPACE, LAST))
    late = [row for row in found if row["correctsPeriod"]]
    assert {row["job"] for row in late} == {"late"}
    for month in (FAR, NEAR):
        of_month = by_job(row for row in late if row["correctsPeriod"] == name_of(month))
        assert of_month == {"late": world.expected(SPACE, month, ["long"])["late"]}
    focus = list(csv.DictReader(io.StringIO(export(SPACE, LAST, "-o", "focus"))))
    assert len([row for row in focus if row["ChargeClass"] == "Correction"]) == len(late)
    assert len({row["x_RowId"] for row in focus}) == len(focus)


def check_finance(world: World, tmp_path: Path) -> None:
    """One line a month; an invoice by plan, and one that is a dollar off."""
    mine = [life for life in world.lives.values() if life.space == SPACE and life.job not in ("late", "long")]
    plans = {plan: sum(life.of_month(NEAR) for life in mine if life.plan == plan) for plan in RULES}
    jobs = len({life.job for life in mine if life.end and life.start < end_of(NEAR) and life.end > NEAR})
    line = cli("cost", "-n", SPACE, "--month", name_of(NEAR)).stdout
    assert line == f"{SPACE} {name_of(NEAR)}: {sum(plans.values()) / 10**6:.6f} USD, {jobs} jobs, Closed\n"
    invoice = tmp_path / "invoice.csv"
    for more, code in ((0, 0), (1, 1)):
        body = "".join(f"{plan},{cost / 10**6 + more:.6f}\n" for plan, cost in plans.items())
        invoice.write_text(f"plan,costUsd\n{body}")
        done = cli("reconcile-invoice", str(invoice), "-n", SPACE, "--period", name_of(NEAR))
        assert done.exit_code == code, done.output
        assert ("billed beyond them by minimums" in done.stdout) is bool(more)
    refused = cli("reconcile-invoice", str(invoice), "-n", SPACE, "--period", name_of(LAST))
    assert (refused.exit_code, "is not closed" in refused.output) == (2, True)


def check_edited_by_hand(world: World, told: dict[tuple[str, ...], str]) -> None:
    """The apiserver refuses an edit; a month that is gone, or came back as another, is named and nothing is told."""
    api, (page,) = world.api, world.closed(SPACE, FAR)
    name = page["metadata"]["name"]
    change = json.dumps({"data": {"ledger.json": page["data"]["ledger.json"].replace("over", "free")}})
    edit = api.run("patch", "configmap", name, "-n", HOME, "--type=merge", "-p", change)
    assert edit.returncode
    assert "immutable" in edit.stderr
    metadata = {key: page["metadata"][key] for key in ("name", "namespace", "labels")}
    body = {**page, "metadata": metadata}
    other = body | {"data": {"ledger.json": page["data"]["ledger.json"].replace('"job":"over"', '"job":"free"')}}
    assert other != body
    for stored, what in ((None, "has gone"), (other, "is not as it was")):
        if stored is None:
            assert api.run("delete", "configmap", name, "-n", HOME).returncode == 0
        else:
            api.apply(stored)
        done = cli("ledger", "export", "-n", SPACE, "--period", name_of(LAST))
        assert done.exit_code == 2
        assert f"closed month {name_of(FAR)} of namespace {SPACE} {what}: put ConfigMap {name} back" in " ".join(
            done.output.split()
        )
    assert api.run("delete", "configmap", name, "-n", HOME).returncode == 0
    api.apply(body)
    assert exports(SPACE, FAR, NEAR) == told


def check_all(world: World) -> None:
    """Closed months and open ones are the ledger, which is what the pods cost."""
    for space in (SPACE, AGAIN):
        months = {month: rows(export(space, month)) for month in (FAR, NEAR, LAST, OPEN)}
        told = {month: sum(by_job(found).values()) for month, found in months.items()}
        owed = {month: sum(world.expected(space, month).values()) for month in months}
        assert sum(told.values()) == sum(owed.values()) == whole(space) > 0
        for month in (LAST, OPEN):
            usual = by_job(row for row in months[month] if not row["correctsPeriod"])
            assert usual == world.expected(space, month), (space, month)
        late = by_job(row for found in months.values() for row in found if row["correctsPeriod"])
        assert late == (
            {"late": sum(world.expected(space, month)["late"] for month in (FAR, NEAR))} if space == SPACE else {}
        )

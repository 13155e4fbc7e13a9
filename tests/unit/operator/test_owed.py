"""What is owed now, as people see it look by look: cost never falls, cost now does for a reason that is told, all places agree."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from llmtrain_operator.client import Object
from llmtrain_operator.figures import figures

from llmtrain.api.status import HighWater, JobStatus, Ledger, Stage
from llmtrain.cli.cells import drawing
from llmtrain.cli.live import View, draw, usd, view_of
from llmtrain.cli.tables import job_table, line, report
from llmtrain.cost.money import format_usd
from llmtrain.ledger.now import cost_now_after
from llmtrain.report.facts import facts_of
from llmtrain.report.page import render
from tests.unit.operator.fake_cluster import START, clone, stamp
from tests.unit.operator.scenario import Scenario, recorded_micro_usd

LOOK = timedelta(seconds=2)
REPORT_SECONDS = 40
"""How late a kubelet tells of an end."""


class Recorded(Scenario):
    """Every status that is stored, and when it was."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(**spec)
        self.statuses: list[tuple[datetime, Object]] = []

    async def turn(self, times: int = 1) -> Any:
        for _ in range(times):
            outlook = await super().turn()
            if not self.statuses or self.statuses[-1][1].get("status") != self.job.get("status"):
                self.statuses.append((self.cluster.now, clone(self.job)))
        return outlook

    def end_late(self, name: str, code: int = 0) -> None:
        """It ended a while ago, and that is told now."""
        self.cluster.tick(-REPORT_SECONDS)
        self.cluster.end_pod(name, code)
        self.cluster.tick(REPORT_SECONDS)

    async def work(self, minutes: int) -> None:
        for _ in range(minutes * 4):
            self.cluster.tick(15)
            await self.turn()


async def recording(begin: datetime = START) -> Recorded:
    """A run with a worker whose end is told late, one whose node is lost, and a head whose end is told late."""
    run = Recorded()
    run.cluster.now = begin
    await run.run_training(0)
    await run.work(5)
    worker = next(name for name in run.pods if "-w0-" in name)
    run.end_late(worker, 1)
    await run.turn(3)
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.work(4)
    for name in run.pods:
        if name.endswith("head"):
            run.cluster.tick(-REPORT_SECONDS)
            run.end_head()
            run.cluster.tick(REPORT_SECONDS)
    await run.drain()
    await run.run_stage()
    await run.turn(3)
    return run


def looks(run: Recorded) -> Iterator[tuple[datetime, View]]:
    """As `watch` sees it, a look every two seconds."""
    view = None
    for (at, job), (then, _) in pairwise([*run.statuses, (run.cluster.now, {})]):
        now = at + timedelta(seconds=1)
        while now < max(then, at + LOOK):
            view = view_of(job, now, view)
            yield now, view
            now += LOOK


async def test_cost_never_falls_and_what_corrects_cost_now_is_told() -> None:
    run = await recording()
    seen = list(looks(run))
    corrected = 0
    for (_, before), (now, view) in pairwise(seen):
        assert view.status.ledger.total_micro_usd >= before.status.ledger.total_micro_usd
        assert view.cost_now(now) >= view.status.ledger.total_micro_usd
        if view.cost_now(now) < before.cost_now(now):
            assert "USD less: " in view.correction
            assert view.correction != before.correction
            corrected += 1
    assert corrected
    assert any("-w0-" in view.correction and "had ended before" in view.correction for _, view in seen)
    end, last = seen[-1]
    assert last.status.state == "Succeeded"
    assert last.cost_now(end) == last.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster) > 0


async def test_watch_list_status_page_and_metrics_show_the_same_two_numbers() -> None:
    run = await recording()
    assert any(
        job["status"]["ledger"].get("costNowMicroUsd", 0) > job["status"]["ledger"]["totalMicroUsd"]
        for _, job in run.statuses
    )
    for at, job in run.statuses[::7]:
        status = JobStatus.model_validate(job["status"])
        cost, now = status.ledger.total_micro_usd, status.ledger.cost_now_micro_usd
        text = f"cost ${format_usd(cost)}, cost now ${format_usd(now)}"
        assert text in line(status)
        assert text in report(status)
        assert f"cost ${usd(cost)}" in drawn(view_of(job, at, None), at)
        assert f"cost now ${usd(now)}" in drawn(view_of(job, at, None), at)
        assert listed(job, at, "cost", "cost now") == [f"${format_usd(cost)}", f"${format_usd(now)}"]
        page = render(facts_of(job, None), "")
        for name, micro in (("cost", cost), ("cost now", now)):
            assert f"<b>${format_usd(micro)}</b><span>{name}</span>" in page
        told = figures(status)
        assert (sum(total.cost_micro_usd for total in told.totals.values()), told.cost_now_micro_usd) == (cost, now)


def drawn(view: View, now: datetime) -> str:
    console, out = drawing(200)
    console.print(draw(view, now))
    return out.getvalue()


def listed(job: Object, now: datetime, *columns: str) -> list[str]:
    job["metadata"].setdefault("creationTimestamp", stamp(now))
    table = job_table([job], now)
    found = {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
    return [found[name][0] for name in columns]


def mark(**more: int | bool) -> HighWater:
    return HighWater(uid="u", stage=Stage.TRAINING, role="head", micro_usd_per_hour=3_600_000, **more)


def test_cost_now_grows_only_by_pods_whose_every_second_costs_something() -> None:
    table = {
        "placed": (mark(alive_seconds=100), 10_000),
        "has ended": (mark(alive_seconds=100, ended=True), 0),
        "not placed": (mark(), 0),
        "within its minimum": (mark(alive_seconds=30, minimum_seconds=60), 0),
        "beyond its minimum": (mark(alive_seconds=60, minimum_seconds=60), 10_000),
        "billed by the minute": (mark(alive_seconds=100, increment_seconds=60), 0),
    }
    for name, (one, grows) in table.items():
        ledger = Ledger(high_water=[one], total_micro_usd=5, cost_now_micro_usd=7)
        assert cost_now_after(ledger, 10) == 7 + grows, name


def test_of_an_operator_that_did_not_count_it_cost_now_is_the_cost() -> None:
    status = JobStatus(ledger=Ledger(total_micro_usd=5_000_000, cost_usd="5.00"))
    assert figures(status).cost_now_micro_usd == 5_000_000
    assert "cost $5.00, cost now $5.00" in re.sub(r"\s+", " ", line(status))

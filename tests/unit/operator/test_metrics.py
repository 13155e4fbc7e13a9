"""What is exported: zero before the first pod, exact at the end, never going back, gone an hour after the end."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.metrics import register_all
from llmtrain_operator.recent import PLANS
from llmtrain_operator.reconcile import JOBS, Outlook
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.upkeep import Upkeep
from prometheus_client import CollectorRegistry

from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from llmtrain.api.status import Progress
from llmtrain.cli.compare import compared, rendered
from llmtrain.cli.inputs import Given
from llmtrain.cli.outputs import PageOutput
from tests.unit.operator.booked import ledgers
from tests.unit.operator.scenario import Scenario, recorded_micro_usd
from tests.unit.operator.test_budget import to_training

ROOT = Path(__file__).resolve().parents[3]

JOB = {"namespace": "team-a", "name": "gpt"}
KNOWN = {"tenure": "Rented", "accelerator": {"product": "H100-SXM-80GB"}, "rented": {"acceleratorHourUsd": "3.99"}}


class Told(Scenario):
    """A scenario whose every turn is told to whoever keeps figures."""

    def __init__(self, tell: Callable[[Outlook], None], **spec: Any) -> None:
        super().__init__(**spec)
        self.tell = tell

    async def turn(self, times: int = 1) -> Outlook:
        outlook = Outlook(0)
        for _ in range(times):
            outlook = await super().turn()
            self.tell(outlook)
        return outlook


class Watched:
    """A scenario whose statuses are exported as the operator exports them."""

    def __init__(self, **spec: Any) -> None:
        self.run = Told(self.export, **spec)
        plans = self.run.cluster.objects
        plans[("apis/llmtrain.dev/v1alpha1/computeplans", "", "gpu")]["spec"] = KNOWN
        self.restart()

    def export(self, outlook: Outlook) -> None:
        if outlook.status is not None:
            self.snapshots.put(("team-a", "gpt"), outlook.status, outlook.uid)
        if outlook.gone:
            self.snapshots.drop(("team-a", "gpt"))

    def restart(self) -> None:
        self.registry, self.snapshots = CollectorRegistry(), Snapshots(self.run.cluster.clock)
        register_all(self.registry, self.snapshots)
        self.upkeep = Upkeep(self.run.cluster, self.run.cluster.clock, [], self.snapshots, ledgers(self.run.cluster))

    async def look(self) -> None:
        await self.upkeep.look()

    def samples(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        found = [s for family in self.registry.collect() for s in family.samples if s.name == name]
        return {tuple(sorted(s.labels.items())): s.value for s in found}

    def total(self, metric: str, /, **labels: str) -> float:
        wanted = set(labels.items())
        return sum(value for key, value in self.samples(metric).items() if wanted <= set(key))


async def finish(watched: Watched) -> None:
    for _ in range(12):
        if watched.run.status.state == "Succeeded":
            return
        await watched.run.run_stage()


async def test_counters_are_there_at_zero_before_the_first_pod() -> None:
    watched = Watched()
    await watched.run.turn(2)
    costs = watched.samples("llmtrain_job_cost_usd_total")
    labels = {(dict(key)["stage"], dict(key)["role"], dict(key)["plan"]) for key in costs}
    assert ("Training", "worker", "gpu") in labels
    assert ("Preflight", "head", "cpu") in labels
    assert set(costs.values()) == {0.0}
    assert set(watched.samples("llmtrain_job_waste_usd_total").values()) == {0.0}
    assert watched.total("llmtrain_job_usd_per_hour") == 0.0


async def test_the_end_is_exact_and_waste_and_work_add_up_to_the_cost() -> None:
    watched = Watched(budget={"limitUsd": "50"})
    await finish(watched)
    exact = recorded_micro_usd(watched.run.cluster) / 1e6
    assert round(watched.total("llmtrain_job_cost_usd_total", **JOB), 6) == exact > 0
    entries = watched.run.status.ledger.entries
    work = sum(entry.cost_split.working for entry in entries) / 1e6
    assert work > 0
    assert round(watched.total("llmtrain_job_waste_usd_total", **JOB) + work, 6) == exact
    assert watched.total("llmtrain_job_budget_usd", **JOB) == 50
    assert watched.total("llmtrain_job_usd_per_hour", **JOB) == 0


async def test_energy_is_watts_times_seconds_at_load_and_idle() -> None:
    watched = Watched()
    await finish(watched)
    entry = next(e for e in watched.run.status.ledger.entries if (e.stage.value, e.role) == ("Training", "worker"))
    # Two H100: the server's share of 1.275 kW x PUE 1.1, at 65 % while working and at 30 % else.
    busy, idle = entry.split.working, entry.pod_seconds - entry.split.working
    load, rest = round(1275 * 1.1 * 0.65), round(1275 * 1.1 * 0.30)
    assert abs(entry.energy_joules - (load * busy + rest * idle)) <= 0.03 * entry.energy_joules
    assert watched.total("llmtrain_job_energy_joules_total", stage="Training") == entry.energy_joules > 0


async def test_estimate_forecast_and_breach_probability_are_told() -> None:
    watched = Watched(budget={"limitUsd": "50"})
    await watched.run.turn(2)
    for metric in ("llmtrain_job_estimate_usd", "llmtrain_job_forecast_usd"):
        values = {dict(key)["percentile"]: value for key, value in watched.samples(metric).items()}
        assert 0 < values["10"] <= values["50"] <= values["90"]
    assert 0 <= watched.total("llmtrain_job_budget_breach_probability_ratio") < 0.01
    status = watched.run.status
    assert status.forecast is not None
    assert status.forecast.eta.endswith("m")
    assert status.estimate is not None
    assert [stage.name for stage in status.estimate.stages] == ["Preflight", "Curation", "Training", "Evaluation"]
    assert status.comparison[0].whole_usd is not None


async def test_a_job_that_is_gone_leaves_its_counters_for_an_hour_and_no_gauge() -> None:
    """It is not Deleting any more: nobody waits for it, and it burns and forecasts nothing."""
    watched = Watched(budget={"limitUsd": "50"})
    await watched.run.run_training(100)
    watched.run.cluster.objects[(JOBS, "team-a", "gpt")]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    await watched.run.turn()
    assert {dict(key)["state"] for key in watched.samples("llmtrain_job_info")} == {"Deleting"}
    while (JOBS, "team-a", "gpt") in watched.run.cluster.objects:
        await watched.run.drain_step()
    assert watched.total("llmtrain_job_cost_usd_total", **JOB) == recorded_micro_usd(watched.run.cluster) / 1e6 > 0
    gauges = {family.name for family in watched.registry.collect() if family.type == "gauge" and family.samples}
    assert {name for name in gauges if name.startswith("llmtrain_job_")} == set()
    watched.run.cluster.tick(3601)
    assert watched.samples("llmtrain_job_cost_usd_total") == {}


async def test_no_counter_falls_while_the_job_runs_and_over_restarts() -> None:
    watched, last = Watched(), dict[Any, float]()
    names = ("cost_usd", "pod_seconds", "accelerator_seconds", "waste_usd", "energy_joules")

    def check() -> None:
        for name in names:
            for key, value in watched.samples(f"llmtrain_job_{name}_total").items():
                assert value >= last.get((name, key), 0.0)
                last[(name, key)] = value

    for step in range(60):
        await watched.run.turn()
        for pod in watched.run.pods:
            if not watched.run.cluster.pod(pod)["spec"].get("nodeName"):
                watched.run.cluster.run_pod(pod)
        watched.run.cluster.tick(7)
        if step % 15 == 14:
            watched.run.end_head()
            await watched.run.drain()
        if step % 7 == 6:
            watched.restart()
            await watched.look()
        check()
    assert max(last.values()) > 0


async def test_what_a_restarted_operator_has_only_read_is_not_told_before_its_first_turn() -> None:
    watched = Watched()
    await watched.run.turn(2)
    watched.run.cluster.run_pod(watched.run.pods[0])
    watched.run.cluster.tick(200)
    await watched.run.turn()
    watched.run.cluster.tick(40)
    await watched.run.turn()
    last = watched.total("llmtrain_job_cost_usd_total", **JOB)
    assert last > watched.run.status.ledger.total_micro_usd / 1e6, "the status is written once a minute"
    watched.restart()
    await watched.look()
    for metric in ("llmtrain_job_cost_usd_total", "llmtrain_namespace_cost_usd_total"):
        assert watched.samples(metric) == {}
    await watched.run.turn()
    assert watched.total("llmtrain_job_cost_usd_total", **JOB) == last
    assert watched.total("llmtrain_namespace_cost_usd_total") == last


async def test_waste_and_energy_of_pods_that_run_show_before_they_are_settled() -> None:
    watched = Watched()
    await watched.run.run_stage()
    await watched.run.run_stage()
    await watched.run.turn(3)
    for name in watched.run.pods:
        watched.run.cluster.run_pod(name)
        state = watched.run.cluster.pod(name)["status"]["containerStatuses"][0]["state"]
        begun = watched.run.cluster.now + timedelta(seconds=100)
        state["running"]["startedAt"] = begun.strftime("%Y-%m-%dT%H:%M:%SZ")
    head = next(name for name in watched.run.pods if name.endswith("head"))
    watched.run.cluster.tick(1000)
    uid = watched.run.cluster.pod(head)["metadata"]["uid"]
    watched.run.memory.progress_of = uid
    watched.run.memory.progress = Progress(working_seconds=700, redone_seconds=40, checkpoint_seconds=20)
    before = watched.total("llmtrain_job_energy_joules_total", stage="Training")
    await watched.run.turn()
    # Two workers at 3.99 USD an hour: 100 s of image, 40 s done again, 20 s of checkpoints.
    waste = {kind: watched.total("llmtrain_job_waste_usd_total", kind=kind) for kind in ("redone", "checkpointing")}
    assert waste["redone"] == pytest.approx(2 * 40 * 3.99 / 3600, abs=6e-6)
    assert waste["checkpointing"] == pytest.approx(2 * 20 * 3.99 / 3600, abs=6e-6)
    pulled = watched.total("llmtrain_job_waste_usd_total", kind="pulling")
    pulled += watched.total("llmtrain_job_waste_usd_total", kind="waiting")
    cpu = sum(e.cost_split.pulling + e.cost_split.waiting for e in watched.run.status.ledger.entries) / 1e6
    assert pulled - cpu == pytest.approx(2 * 100 * 3.99 / 3600, abs=6e-6)
    # A minute is not told yet; at load while it stepped, idle else.
    load, rest = round(1275 * 1.1 * 0.65), round(1275 * 1.1 * 0.30)
    energy = watched.total("llmtrain_job_energy_joules_total", stage="Training") - before
    assert energy == pytest.approx(2 * (740 * load + (940 - 740) * rest), rel=0.01)


async def test_a_namespaces_total_survives_the_job_and_a_restart_and_counts_it_once() -> None:
    watched = Watched()
    watched.run.cluster.add(BUDGETS, {"metadata": {"name": "b", "namespace": "team-a"}, "spec": {"limitUsd": "99"}})
    await watched.run.run_stage()
    await watched.look()
    before = watched.total("llmtrain_namespace_cost_usd_total", namespace="team-a")
    assert before == watched.run.status.ledger.total_micro_usd / 1e6 > 0
    await watched.run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    for _ in range(30):
        if watched.run.cluster.of(JOBS):
            await watched.run.drain_step()
    assert watched.run.cluster.of(JOBS) == []
    expected = recorded_micro_usd(watched.run.cluster) / 1e6
    assert watched.total("llmtrain_namespace_cost_usd_total") == expected
    await watched.look()
    assert watched.total("llmtrain_namespace_cost_usd_total") == expected
    watched.restart()
    assert watched.samples("llmtrain_namespace_cost_usd_total") == {}
    await watched.look()
    assert watched.total("llmtrain_namespace_cost_usd_total") == expected


async def test_a_budgets_metrics_are_its_status_and_start_anew_with_its_period() -> None:
    watched = Watched()
    spec = {"limitUsd": "40", "period": "Month", "warnAtShare": ["0.0001"]}
    watched.run.cluster.add(BUDGETS, {"metadata": {"name": "b", "namespace": "team-a"}, "spec": spec})
    await watched.look()
    of = {"namespace": "team-a", "budget": "b"}
    assert watched.total("llmtrain_budget_limit_usd", **of, period="Month") == 40
    assert watched.samples("llmtrain_budget_spent_usd") == {tuple(sorted(of.items())): 0.0}
    warned = {"condition": "BelowWarning", "status": "False"}
    assert watched.total("llmtrain_budget_condition", **of, **warned) == 0
    await watched.run.turn(4)
    await watched.look()
    assert watched.total("llmtrain_budget_reserved_usd", **of) > 0
    await finish(watched)
    await watched.run.turn(2)
    await watched.look()
    exact = recorded_micro_usd(watched.run.cluster) / 1e6
    assert round(watched.total("llmtrain_budget_spent_usd", **of), 6) == exact > 0
    assert watched.total("llmtrain_budget_reserved_usd", **of) == 0
    assert watched.total("llmtrain_budget_condition", **of, **warned) == 1
    watched.run.cluster.now += timedelta(days=31)
    await watched.look()
    assert watched.total("llmtrain_budget_spent_usd", **of) == 0
    await watched.run.cluster.delete(BUDGETS, "team-a", "b", "", None)
    await watched.look()
    assert watched.samples("llmtrain_budget_limit_usd") == {}


async def test_series_of_a_job_go_an_hour_after_its_end() -> None:
    watched = Watched()
    await finish(watched)
    watched.run.cluster.now += timedelta(minutes=59)
    await watched.run.turn()
    assert watched.samples("llmtrain_job_cost_usd_total")
    watched.run.cluster.now += timedelta(minutes=2)
    await watched.run.turn()
    assert watched.samples("llmtrain_job_cost_usd_total") == {}
    assert watched.samples("llmtrain_job_info") == {}


async def test_plans_tell_their_hour_and_their_break_even() -> None:
    watched = Watched()
    owned = {"accelerators": 64, "serverPerAcceleratorUsd": "32000", "powerKwPerAccelerator": "1.275"}
    spec = {"tenure": "Owned", "accelerator": {"product": "H100-SXM-80GB"}, "owned": owned}
    watched.run.cluster.add("apis/llmtrain.dev/v1alpha1/computeplans", {"metadata": {"name": "own"}, "spec": spec})
    await watched.look()
    assert watched.total("llmtrain_plan_usd_per_accelerator_hour", plan="gpu") == 3.99
    # The reference table: 0.51 at a rent of 3.99.
    assert abs(watched.total("llmtrain_plan_breakeven_utilization_ratio", plan="own") - 0.51) < 0.005


async def test_the_statuss_comparison_is_what_the_command_says() -> None:
    """Before the run and with the speed that it has measured; the command is asked with the same objects."""
    watched = Watched()
    plans = list(yaml.safe_load_all((ROOT / "demo" / "plans.yaml").read_text()))
    owned = next(plan["spec"] for plan in plans if plan["spec"]["tenure"] == "Owned")
    watched.run.cluster.add(PLANS, {"metadata": {"name": "mine"}, "spec": owned})
    watched.run.job["spec"]["comparePlans"] = ["gpu", "mine"]
    await watched.run.turn(2)
    told_alike(watched)
    before = watched.run.status.comparison[0].hours
    await to_training(watched.run)
    head = next(name for name in watched.run.pods if name.endswith("head"))
    watched.run.memory.progress_of = watched.run.cluster.pod(head)["metadata"]["uid"]
    watched.run.memory.progress = Progress(done=1, total=9, tokens_per_second="54321.5")
    watched.run.cluster.tick(90)
    await watched.run.turn()
    told_alike(watched)
    assert watched.run.status.comparison[0].hours != before


def told_alike(watched: Watched) -> None:
    body, plans = watched.run.job, watched.run.cluster.of(PLANS)
    named = {name: PlanSpec.model_validate(p["spec"]) for p in plans for name in [p["metadata"]["name"]]}
    given = Given("gpt", JobSpec.model_validate(body["spec"]), named, watched.run.status)
    view = json.loads(rendered(compared(given), PageOutput.JSON))
    by_plan = {plan["plan"]: plan for plan in view["plans"]}
    for row in watched.run.status.comparison:
        other = by_plan[row.plan]
        for mine, theirs, places in ((row.hours, "hours", 4), (row.whole_usd, "allocatedUsd", 2),
                                     (row.avoidable_usd, "avoidableUsd", 2)):  # fmt: skip
            assert mine is not None
            assert mine.to_dict() == {q: f"{other[theirs][q]:.{places}f}" for q in ("p10", "p50", "p90")}
        assert row.usd_per_1e21_flops == f"{other['usdPer1e21Flops']:.2f}"
    own = next(row for row in watched.run.status.comparison if row.plan == "mine")
    pair = next(pair for pair in view["rentOrOwn"] if (pair["owned"], pair["rented"]) == ("mine", "gpu"))
    share = pair["breakEvenUtilization"]
    assert own.break_even_utilization == ("" if share is None else f"{share:.4f}")

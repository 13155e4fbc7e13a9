"""The jobs' metrics, from the ledgers. Counters rest on amounts that never fall, so no restart makes them go back."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmtrain.cost.money import MICRO
from llmtrain.ledger.goodput import WASTE
from llmtrain_operator.figures import Figures
from llmtrain_operator.snapshots import Key, Snapshots

NAMES = ["namespace", "name"]
LEDGER_LABELS = [*NAMES, "stage", "role", "plan", "tenure"]
STATUSES = ("True", "False", "Unknown")
Jobs = list[tuple[Key, Figures]]


def usd(micro: int) -> float:
    """US dollars for the exposition, which knows floats alone; exact to the microdollar below 9 billion dollars."""
    return float(Decimal(micro) / MICRO)


class JobCollector(Collector):
    """The jobs' metrics."""

    def __init__(self, snapshots: Snapshots) -> None:
        """Reads `snapshots` at every scrape."""
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        """Fresh families."""
        jobs = self._snapshots.current()
        yield from ledger_families(jobs)
        yield from waste_families(jobs)
        yield from outlook_families(jobs)
        yield from state_families(jobs, self._snapshots.clock())


def ledger_families(jobs: Jobs) -> Iterable[Metric]:
    """Seconds, dollars and joules by stage, role, plan and tenure."""
    seconds = CounterMetricFamily("llmtrain_job_pod_seconds", "Seconds of pods, from scheduling.", labels=LEDGER_LABELS)
    accelerators = CounterMetricFamily(
        "llmtrain_job_accelerator_seconds", "Billed accelerator-seconds.", labels=LEDGER_LABELS
    )
    cost = CounterMetricFamily(
        "llmtrain_job_cost_usd", "Cost: what is settled, and what pods alive owe at least.", labels=LEDGER_LABELS
    )
    energy = CounterMetricFamily(
        "llmtrain_job_energy_joules",
        "Electricity of the pods' accelerators, the building's losses included.",
        labels=LEDGER_LABELS,
    )
    for key, found in jobs:
        for labels, total in found.totals.items():
            seconds.add_metric([*key, *labels], total.pod_seconds)
            accelerators.add_metric([*key, *labels], total.accelerator_seconds)
            cost.add_metric([*key, *labels], usd(total.cost_micro_usd))
            energy.add_metric([*key, *labels], total.energy_joules)
    return seconds, accelerators, cost, energy


def waste_families(jobs: Jobs) -> Iterable[Metric]:
    """What pods cost while their stage's work did not move forward, by kind; and the share of training's time in which it did."""
    waste = CounterMetricFamily(
        "llmtrain_job_waste_usd",
        "Cost of pods' time that was not work; of pods alive what is certain.",
        labels=[*NAMES, "kind"],
    )
    goodput = GaugeMetricFamily(
        "llmtrain_job_goodput_of_billed_time_ratio",
        "Goodput of billed time of Training: working over billed seconds of its settled heads and workers.",
        labels=NAMES,
    )
    for key, found in jobs:
        for kind, micro in zip(WASTE, found.waste_micro_usd, strict=True):
            waste.add_metric([*key, kind], usd(micro))
        if found.goodput_of_billed_time is not None:
            goodput.add_metric(key, found.goodput_of_billed_time)
    return waste, goodput


def outlook_families(jobs: Jobs) -> Iterable[Metric]:
    """Rates and expectations."""
    owed = GaugeMetricFamily(
        "llmtrain_job_cost_now_usd",
        "Cost now: with pods alive counted up to now. It may be corrected down, the cost never is.",
        labels=NAMES,
    )
    burn = GaugeMetricFamily("llmtrain_job_usd_per_hour", "What the pods alive cost an hour.", labels=NAMES)
    estimate = GaugeMetricFamily(
        "llmtrain_job_estimate_usd", "The bill as it was expected before the run.", labels=[*NAMES, "percentile"]
    )
    forecast = GaugeMetricFamily("llmtrain_job_forecast_usd", "The bill at completion.", labels=[*NAMES, "percentile"])
    budget = GaugeMetricFamily("llmtrain_job_budget_usd", "The tightest limit of the job's bill.", labels=NAMES)
    breach = GaugeMetricFamily(
        "llmtrain_job_budget_breach_probability_ratio", "Probability that the bill ends above it.", labels=NAMES
    )
    for key, found in _there(jobs):
        owed.add_metric(key, usd(found.cost_now_micro_usd))
        burn.add_metric(key, usd(found.burn_micro_usd_per_hour))
        for label, value in found.estimate_usd:
            estimate.add_metric([*key, label], value)
        for label, value in found.forecast_usd:
            forecast.add_metric([*key, label], value)
        if found.budget_usd is not None:
            budget.add_metric(key, found.budget_usd)
        if found.breach_probability is not None:
            breach.add_metric(key, found.breach_probability)
    return owed, burn, estimate, forecast, budget, breach


def _there(jobs: Jobs) -> Jobs:
    """Without jobs whose objects are gone: of these counters alone are told for a while."""
    return [(key, found) for key, found in jobs if found.is_there]


def state_families(jobs: Jobs, now: datetime) -> Iterable[Metric]:
    """Where the jobs stand."""
    info = GaugeMetricFamily("llmtrain_job_info", "The job's stage and state.", labels=[*NAMES, "stage", "state"])
    conditions = GaugeMetricFamily(
        "llmtrain_job_condition", "1 where the condition has the status.", labels=[*NAMES, "condition", "status"]
    )
    other = GaugeMetricFamily(
        "llmtrain_job_counterfactual_usd", "The training so far on another plan.", labels=[*NAMES, "plan", "tenure"]
    )
    duration = GaugeMetricFamily(
        "llmtrain_job_stage_duration_seconds", "From the stage's first attempt to its end.", labels=[*NAMES, "stage"]
    )
    for key, found in _there(jobs):
        info.add_metric([*key, found.stage, found.state], 1)
        for kind, status in found.conditions:
            for value in STATUSES:
                conditions.add_metric([*key, kind, value], float(status == value))
        for plan, tenure, cost in found.counterfactual_usd:
            other.add_metric([*key, plan, tenure], cost)
        for span in found.stages:
            duration.add_metric([*key, span.stage], max(0.0, ((span.ended or now) - span.begun).total_seconds()))
    return info, conditions, other, duration

"""The jobs' metrics, from the ledgers. Counters rest on amounts that never fall, so no restart makes them go back."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmtrain.api.outlook import Quantiles
from llmtrain.api.status import Amounts, Counted, JobStatus, Stage
from llmtrain.cost.money import MICRO
from llmtrain_operator.billing import parse_time
from llmtrain_operator.names import EVALUATOR, HEAD, WORKER
from llmtrain_operator.snapshots import Key, Snapshots
from llmtrain_operator.wastesplit import WASTE

NAMES = ["namespace", "name"]
LEDGER_LABELS = [*NAMES, "stage", "role", "plan", "tenure"]
STATUSES = ("True", "False", "Unknown")
QUANTILES = (("0.1", "p10"), ("0.5", "p50"), ("0.9", "p90"))
Jobs = list[tuple[Key, JobStatus]]
LabelSet = tuple[str, str, str, str]


@dataclass
class Total:
    """Settled and provisional amounts of one label set."""

    pod_seconds: int = 0
    accelerator_seconds: int = 0
    cost_micro_usd: int = 0
    energy_joules: int = 0

    def add(self, item: Amounts) -> None:
        """Add an entry or a provisional bill."""
        self.pod_seconds += item.pod_seconds
        self.accelerator_seconds += item.accelerator_seconds
        self.cost_micro_usd += item.cost_micro_usd


def totals(status: JobStatus) -> dict[LabelSet, Total]:
    """Amounts by (stage, role, plan, tenure); zero for what has no pod yet."""
    result = {labels: Total() for labels in expected(status)}
    items: list[Amounts] = [*status.ledger.entries, *status.ledger.high_water]
    for item in items:
        result.setdefault(_labels(item), Total()).add(item)
    for told in status.ledger.counted:
        result.setdefault(_labels(told), Total()).energy_joules = told.energy_joules
    return result


def _labels(item: Amounts | Counted) -> LabelSet:
    return item.stage.value, item.role, item.plan, item.tenure


def expected(status: JobStatus) -> Iterable[LabelSet]:
    """Label sets that a job will have, so that a rate sees their first increase."""
    for stage in status.stages:
        roles = (HEAD,) if stage.name is Stage.PREFLIGHT else (HEAD, WORKER)
        if stage.plan and not stage.reused:
            yield from ((stage.name.value, role, stage.plan, stage.tenure) for role in roles)
        if stage.evaluator_plan:
            yield stage.name.value, EVALUATOR, stage.evaluator_plan, stage.evaluator_tenure


def usd(micro: int) -> float:
    """US dollars for the exposition, which knows floats alone; exact to the microdollar below 9 billion dollars."""
    return float(Decimal(micro) / MICRO)


class JobCollector(Collector):
    """The jobs' metrics."""

    def __init__(self, snapshots: Snapshots) -> None:
        """Reads `snapshots` at every scrape."""
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        """Fresh families from the statuses."""
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
    cost = CounterMetricFamily("llmtrain_job_cost_usd", "What the job's pods cost.", labels=LEDGER_LABELS)
    energy = CounterMetricFamily(
        "llmtrain_job_energy_joules",
        "Electricity of the pods' accelerators, the building's losses included.",
        labels=LEDGER_LABELS,
    )
    for key, status in jobs:
        for labels, total in totals(status).items():
            seconds.add_metric([*key, *labels], total.pod_seconds)
            accelerators.add_metric([*key, *labels], total.accelerator_seconds)
            cost.add_metric([*key, *labels], usd(total.cost_micro_usd))
            energy.add_metric([*key, *labels], total.energy_joules)
    return seconds, accelerators, cost, energy


def waste_families(jobs: Jobs) -> Iterable[Metric]:
    """What pods cost while their stage's work did not move forward, by kind."""
    waste = CounterMetricFamily(
        "llmtrain_job_waste_usd",
        "Cost of pods' time that was not work; of pods alive what is certain.",
        labels=[*NAMES, "kind"],
    )
    for key, status in jobs:
        for kind in WASTE:
            micro = sum(getattr(told.waste, kind) for told in status.ledger.counted)
            waste.add_metric([*key, kind], usd(micro))
    return (waste,)


def outlook_families(jobs: Jobs) -> Iterable[Metric]:
    """Rates and expectations."""
    burn = GaugeMetricFamily("llmtrain_job_usd_per_hour", "What the pods alive cost an hour.", labels=NAMES)
    estimate = GaugeMetricFamily(
        "llmtrain_job_estimate_usd", "The bill as it was expected before the run.", labels=[*NAMES, "quantile"]
    )
    forecast = GaugeMetricFamily("llmtrain_job_forecast_usd", "The bill at completion.", labels=[*NAMES, "quantile"])
    budget = GaugeMetricFamily("llmtrain_job_budget_usd", "The tightest limit of the job's bill.", labels=NAMES)
    breach = GaugeMetricFamily(
        "llmtrain_job_budget_breach_probability_ratio", "Probability that the bill ends above it.", labels=NAMES
    )
    for key, status in jobs:
        burn.add_metric(key, usd(status.ledger.burn_micro_usd_per_hour))
        _add_quantiles(estimate, key, status.estimate.usd if status.estimate else None)
        _add_quantiles(forecast, key, status.forecast.usd if status.forecast else None)
        if status.forecast and status.forecast.budget_usd:
            budget.add_metric(key, float(status.forecast.budget_usd))
        if status.forecast and status.forecast.breach_probability:
            breach.add_metric(key, float(status.forecast.breach_probability))
    return burn, estimate, forecast, budget, breach


def _add_quantiles(family: GaugeMetricFamily, key: Key, values: Quantiles | None) -> None:
    for label, name in QUANTILES:
        text = getattr(values, name, "")
        if text:
            family.add_metric([*key, label], float(text))


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
    for key, status in jobs:
        info.add_metric([*key, status.stage, status.state or "Pending"], 1)
        for condition in status.conditions:
            for value in STATUSES:
                conditions.add_metric([*key, condition.type, value], float(condition.status == value))
        for row in status.comparison:
            other.add_metric([*key, row.plan, row.tenure], float(row.cost_usd))
        for stage in status.stages:
            begun = parse_time(stage.start_time)
            if begun is not None:
                end = parse_time(stage.completion_time) or now
                duration.add_metric([*key, stage.name.value], max(0.0, (end - begun).total_seconds()))
    return info, conditions, other, duration

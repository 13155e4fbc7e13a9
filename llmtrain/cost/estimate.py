"""The bill before the run: hours, dollars and kWh of every stage as p10, p50 and p90, and what they rest on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from llmtrain.cost import assumptions as a
from llmtrain.cost.assumptions import Assumption
from llmtrain.cost.chips import Chip
from llmtrain.cost.duration import chip_of, stage_assumptions, train_flops, work_hours
from llmtrain.cost.energy import energy_assumption, kilowatts
from llmtrain.cost.physics import GIB, memory_per_accelerator
from llmtrain.cost.plans import Plan, bill_range
from llmtrain.cost.ranges import Range, total
from llmtrain.cost.storage import StorageCost
from llmtrain.cost.work import Cluster, RunSpec, StageSpec, TrainingWork, computes_on_cpus


@dataclass(frozen=True)
class StageEstimate:
    """One stage; hours are of the wall clock, start included."""

    name: str
    plan: str
    accelerators: int
    hours: Range
    accelerator_hours: Range
    usd: Range
    kwh: Range
    start_hours: Range = a.START_HOURS
    """Of the hours, those before the work begins."""
    storage: StorageCost | None = None
    storage_usd: Range | None = None
    """Storage and egress, US dollars; None where the plan does not price them. In no total."""


@dataclass(frozen=True)
class ModelFacts:
    """Size and work of the model, exact."""

    parameters: int
    multiplying_parameters: int
    flops_per_token: float
    train_flops: float
    state_gib: float
    activation_gib: float
    available_gib: float | None


@dataclass(frozen=True)
class Estimate:
    """The whole job. Totals add the stages quantile by quantile."""

    job: str
    model: ModelFacts
    stages: Sequence[StageEstimate]
    hours: Range
    accelerator_hours: Range
    usd: Range
    kwh: Range
    development_multiplier: Range
    development_usd: Range
    assumptions: Sequence[Assumption]
    warnings: Sequence[str]

    def stage(self, name: str) -> StageEstimate | None:
        """A stage by name."""
        return next((stage for stage in self.stages if stage.name == name), None)


def estimate(run: RunSpec, today: date | None = None) -> Estimate:
    """Estimate a job; with `today`, prices older than the plan allows are warned of."""
    stages = [estimate_stage(run, stage) for stage in run.stages]
    usd = total(stage.usd for stage in stages)
    multiplier = a.DEVELOPMENT
    return Estimate(
        job=run.name,
        model=model_facts(run.training.cluster, run.training_work),
        stages=stages,
        hours=total(stage.hours for stage in stages),
        accelerator_hours=total(stage.accelerator_hours for stage in stages),
        usd=usd,
        kwh=total(stage.kwh for stage in stages),
        development_multiplier=multiplier,
        development_usd=Range(usd.p10 * multiplier.p10, usd.p50 * multiplier.p50, usd.p90 * multiplier.p90),
        assumptions=_assumptions(run),
        warnings=[
            *_memory_warnings(run),
            *_unpriced(run),
            *price_warnings((group.plan for s in run.stages for group in s.clusters), today),
        ],
    )


def estimate_stage(run: RunSpec, stage: StageSpec) -> StageEstimate:
    """One stage on its cluster."""
    cluster = stage.cluster
    hours = work_hours(stage.work, run, cluster) + a.START_HOURS
    storage = stage.storage
    return StageEstimate(
        name=stage.name,
        plan=cluster.plan.name,
        accelerators=cluster.accelerators,
        hours=hours,
        accelerator_hours=hours.scaled(cluster.accelerators),
        usd=total(bill_range(group.plan, group.pods, hours) for group in stage.clusters),
        kwh=total(hours.scaled(kilowatts(group)) for group in stage.clusters),
        storage=storage,
        storage_usd=storage.usd(hours) if storage else None,
    )


def model_facts(cluster: Cluster, work: TrainingWork) -> ModelFacts:
    """Parameters, FLOPs, and memory of one accelerator."""
    memory = memory_per_accelerator(work.model, work.shards, work.sequences_per_accelerator, work.recompute)
    chip = None if computes_on_cpus(work, cluster) else chip_of(cluster)
    return ModelFacts(
        parameters=work.model.parameters,
        multiplying_parameters=work.model.multiplying_parameters,
        flops_per_token=work.model.flops_per_token,
        train_flops=train_flops(work),
        state_gib=memory.states / GIB,
        activation_gib=memory.activations / GIB,
        available_gib=_memory_gib(chip),
    )


def _memory_gib(chip: Chip | None) -> float | None:
    return None if chip is None or chip.memory_gb is None else chip.memory_gb * 1e9 / GIB


def _assumptions(run: RunSpec) -> list[Assumption]:
    found: list[Assumption] = []
    for stage in run.stages:
        found += stage_assumptions(stage.work, run, stage.cluster)
        energy = energy_assumption(stage.cluster)
        found += [energy] if energy else []
        found += [_price(group.plan) for group in stage.clusters]
        found += [a.STORED] if stage.storage else []
    return list(dict.fromkeys([*found, a.START, a.DEVELOPMENT_MULTIPLIER]))


def _price(plan: Plan) -> Assumption:
    what = f"{plan.accelerator_hour_usd:f} USD per accelerator-hour"
    if plan.chip is None:
        what = f"{plan.cpu_hour_usd:f} USD per core-hour, {plan.memory_gib_hour_usd:f} USD per GiB-hour"
    derived = "levelised from the plan's `spec.owned`" if plan.owned else "the plan; its source is not given"
    return Assumption(f"price of plan {plan.name}", what, plan.quote.name or derived, plan.quote.date)


def _memory_warnings(run: RunSpec) -> list[str]:
    facts = model_facts(run.training.cluster, run.training_work)
    need = facts.state_gib + facts.activation_gib
    if facts.available_gib is None or need <= facts.available_gib:
        return []
    states = (
        f"{facts.state_gib:.1f} GiB of weights, gradients and optimizer, {facts.activation_gib:.1f} GiB activations"
    )
    return [f"training needs {need:.1f} GiB per accelerator ({states}); it has {facts.available_gib:.1f} GiB"]


def _unpriced(run: RunSpec) -> list[str]:
    """Stages that are billed nothing, for their plan prices accelerators and they ask for none."""
    return [
        f"{stage.name} asks for no accelerators, and plan {group.plan.name} prices them alone: it is billed 0.00 USD"
        for stage in run.stages
        for group in stage.clusters
        if group.accelerators == 0 and not group.plan.prices_cores
    ]


def price_warnings(plans: Iterable[Plan], today: date | None) -> list[str]:
    """Prices older than their plan allows."""
    by_name = {plan.name: plan for plan in plans}
    return [text for plan in by_name.values() if today and (text := price_warning(plan, today))]


def price_warning(plan: Plan, today: date) -> str:
    """What is to be said of a price's age; empty where it is fresh or bears no date."""
    if not plan.quote.date:
        return ""
    age = (today - date.fromisoformat(plan.quote.date)).days
    if age <= plan.stale_after_days:
        return ""
    return f"the price of plan {plan.name} is {age} days old, more than {plan.stale_after_days} (`spec.priceStaleAfterDays`)"

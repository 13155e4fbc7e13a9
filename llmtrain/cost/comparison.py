"""The same training on every plan: hours, dollars, dollars per work, and where owning becomes the cheaper.

Equal work, not equal hours: another chip takes other hours, and an hour of rent is worth as much owned time as does
the same work; of preemptible machines more hours are rented, for what was lost is done again. A reservation is paid for
all hours that there are. Allocated dollars are the bill; avoidable dollars are what would not be spent without this job: nothing
where hours are reserved, energy where the machines are owned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmtrain.cost.duration import train_flops, work_hours
from llmtrain.cost.errors import InputError
from llmtrain.cost.estimate import StageEstimate, estimate_stage
from llmtrain.cost.owned import OwnedInputs, available_hours_month
from llmtrain.cost.plans import RESERVED, Plan
from llmtrain.cost.ranges import Range
from llmtrain.cost.rent_or_own import Rent, Verdict, break_even_rent, verdict
from llmtrain.cost.tornado import Bar, tornado
from llmtrain.cost.work import RunSpec, StageSpec, computes_on_cpus

PATHS = (("flat", 0.0), ("falls 28 % a year", 0.14), ("rises 26 % a year", -0.10))
"""Rent over the years; 0.14 orders of magnitude is Epoch's price-performance trend, and rents of H100 rose in 2025-26."""


@dataclass(frozen=True)
class PlanResult:
    """One plan, for the whole training. `usd_per_hour` of an accelerator; work by the median."""

    plan: Plan
    estimate: StageEstimate
    avoidable_usd: Range
    usd_per_1e21_flops: float
    usd_per_million_tokens: float


@dataclass(frozen=True)
class Path:
    """The verdict where rent, and resale with it, moves over the years."""

    name: str
    fall_oom_per_year: float
    utilization: float | None
    month: int | None


@dataclass(frozen=True)
class Pair:
    """An owned plan against a rented one at equal work. `tornado` is of the break-even use, which a reservation does not have."""

    owned: Plan
    rented: Plan
    rent: Rent
    verdict: Verdict
    tornado: Sequence[Bar]
    paths: Sequence[Path]
    break_even_rent_usd: float
    break_even_annual_hours: float | None
    known_annual_hours: float
    available_annual_hours: float

    @property
    def cheaper_at_plan_use(self) -> str:
        """The cheaper plan if the machines are used as much as the owned plan states."""
        return self._cheaper_at(self.owned.owned.utilization if self.owned.owned else 0.0)

    @property
    def cheaper_for_known_hours(self) -> str:
        """The cheaper plan if they worked a year for this job and `otherAnnualAcceleratorHours` alone."""
        return self._cheaper_at(min(1.0, self.known_annual_hours / self.available_annual_hours))

    def _cheaper_at(self, use: float) -> str:
        return self.owned.name if self.verdict.owning_pays_at(use) else self.rented.name


@dataclass(frozen=True)
class Comparison:
    """All plans, and all pairs of an owned and a rented one."""

    job: str
    train_flops: float
    tokens: float
    results: Sequence[PlanResult]
    pairs: Sequence[Pair]
    skipped: Sequence[tuple[str, str]]


def compare(run: RunSpec, plans: Sequence[Plan]) -> Comparison:
    """The training of this job on each plan that could do it, once; why not on the others."""
    results, skipped = list[PlanResult](), list[tuple[str, str]]()
    for plan in {plan.name: plan for plan in plans}.values():
        found = on_plan(run, plan)
        if isinstance(found, str):
            skipped.append((plan.name, found))
        else:
            results.append(found)
    owned = [result for result in results if result.plan.owned is not None]
    rented = [result for result in results if result.plan.owned is None]
    paired = run.training.cluster.accelerators > 0
    work = run.training_work
    return Comparison(
        job=run.name,
        train_flops=train_flops(work),
        tokens=work.tokens,
        results=results,
        pairs=[_pair(own, rent) for own in owned for rent in rented] if paired else [],
        skipped=skipped,
    )


def on_plan(run: RunSpec, plan: Plan) -> PlanResult | str:
    """The training on one plan, or why nothing is known of it there."""
    unfit = _unfit(run, plan)
    try:
        return unfit or _result(run, plan)
    except InputError as error:
        return str(error)


def _unfit(run: RunSpec, plan: Plan) -> str:
    """Why the plan has no price for this training; empty where it has."""
    asks = run.training.cluster.accelerators > 0
    if asks and not plan.chip:
        return "it has no accelerator, and the training asks for some"
    if not asks and not plan.prices_cores:
        return "it prices accelerators, and the training asks for none"
    return ""


def _result(run: RunSpec, plan: Plan) -> PlanResult:
    stage = replace(run.training, cluster=replace(run.training.cluster, plan=plan))
    same = plan.chip == run.training.cluster.plan.chip or computes_on_cpus(stage.work, stage.cluster)
    own_speed = run if same else replace(run, measured=None)
    found = estimate_stage(own_speed, stage)
    work_usd = _work_usd(own_speed, stage, found)
    work = run.training_work
    return PlanResult(
        plan=plan,
        estimate=found,
        avoidable_usd=_avoidable(plan, found),
        usd_per_1e21_flops=work_usd / train_flops(work) * 1e21,
        usd_per_million_tokens=work_usd / work.tokens * 1e6,
    )


def _work_usd(run: RunSpec, stage: StageSpec, found: StageEstimate) -> float:
    """The median bill without the cluster's start, which would drown the price of work in a short job."""
    hours = work_hours(stage.work, run, stage.cluster).p50
    per_hour = sum(group.count * group.micro_usd_per_hour(stage.cluster.plan) for group in stage.cluster.pods) / 1e6
    return min(found.usd.p50, hours * per_hour) if found.usd.p50 > 0 else hours * per_hour


def _avoidable(plan: Plan, found: StageEstimate) -> Range:
    if plan.owned is None and plan.commitment != RESERVED:
        return found.usd
    return found.accelerator_hours.scaled(plan.marginal_hour_usd)


def _pair(own: PlanResult, rented: PlanResult) -> Pair:
    inputs = own.plan.owned
    if inputs is None:
        raise TypeError(f"{own.plan.name} is not owned")
    rent = rent_of(own, rented)
    found = verdict(inputs, rent)
    year = 12 * available_hours_month(inputs)
    needed = found.utilization_uncapped
    return Pair(
        owned=own.plan,
        rented=rented.plan,
        rent=rent,
        verdict=found,
        tornado=[] if rent.reserved else tornado(inputs, rent),
        paths=[_path(inputs, rent, name, fall) for name, fall in PATHS],
        break_even_rent_usd=break_even_rent(found.cost, inputs.utilization, rent),
        break_even_annual_hours=None if needed is None else needed * year,
        known_annual_hours=own.plan.other_annual_hours + own.estimate.accelerator_hours.p50,
        available_annual_hours=year,
    )


def rent_of(own: PlanResult, rented: PlanResult) -> Rent:
    """What is paid for as much work as one owned accelerator-hour does."""
    price = float(rented.plan.accelerator_hour_usd) * _equal_work(own, rented)
    return Rent(price, reserved=rented.plan.commitment == RESERVED)


def _equal_work(own: PlanResult, rented: PlanResult) -> float:
    """Rented accelerator-hours that do the work of one owned accelerator-hour; what is done again after a preemption is in them."""
    if own.estimate.accelerator_hours.p50 <= 0:
        return 1.0
    return rented.estimate.accelerator_hours.p50 / own.estimate.accelerator_hours.p50


def _path(inputs: OwnedInputs, rent: Rent, name: str, fall: float) -> Path:
    """A path other than the flat one takes the resale value along."""
    decay = max(0.0, fall) if fall else inputs.resale_decay_oom_per_year
    found = verdict(replace(inputs, resale_decay_oom_per_year=decay), replace(rent, fall_oom_per_year=fall))
    return Path(name, fall, found.utilization_uncapped, found.month)

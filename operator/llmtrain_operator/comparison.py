"""The training on other plans: so far at equal accelerator-seconds, and the whole of it at equal work."""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

from llmtrain.api.base import parse_quantity
from llmtrain.api.cluster import PodResources, TrainingCluster
from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from llmtrain.api.status import Amounts, Comparison, Ledger, Stage
from llmtrain.cost.comparison import PlanResult, on_plan, rent_of
from llmtrain.cost.errors import InputError
from llmtrain.cost.money import amount_micro_usd, format_usd, micro_usd
from llmtrain.cost.owned import OwnedInputs
from llmtrain.cost.plans import Plan as CostPlan
from llmtrain.cost.rent_or_own import Rent, verdict
from llmtrain.pricing.job import training_of
from llmtrain.pricing.measured import tokens_per_second
from llmtrain.pricing.plans import priced
from llmtrain.text import plain
from llmtrain_operator.estimates import quantiles
from llmtrain_operator.names import EVALUATOR, HEAD, WORKER
from llmtrain_operator.observation import PLANS_UNREAD
from llmtrain_operator.pricing import GIB, Plan
from llmtrain_operator.turn import Inputs, Turn

Known = PlanResult | str
"""What is known of the training on a plan: at equal work, or why nothing is."""


def update_comparison(turn: Turn) -> None:
    """One row a plan that `spec.comparePlans` names, in that order; of one that is not there, or has no price, with the reason."""
    wanted = dict.fromkeys(turn.spec.compare_plans)
    whole = at_equal_work(turn.inputs, tokens_per_second(turn.status)) if wanted else {}
    rent = whole.get(_rent_of_job(turn))
    rented = rent if isinstance(rent, PlanResult) else None
    turn.status.comparison = [_row(turn, name, whole.get(name), rented) for name in wanted]


@lru_cache(maxsize=1024)
def at_equal_work(inputs: Inputs, speed: float) -> Mapping[str, Known]:
    """The whole training on each plan, by plan, as `llmtrain compare` has it. `speed`: tokens/s.

    One plan at a time: pairs of owned and rented ones bring curves that a status has no room for.
    """
    plans, refused = priced_texts(inputs.plans)
    unknown: dict[str, Known] = {name: str(error) for name, error in refused.items()}
    try:
        run = training_of(inputs.job, JobSpec.model_validate_json(inputs.spec), plans, refused, speed)
    except InputError as error:
        return dict.fromkeys(plans, str(error)) | unknown
    return {name: on_plan(run, plan) for name, plan in plans.items()} | unknown


@lru_cache(maxsize=1024)
def priced_texts(texts: tuple[tuple[str, str], ...]) -> tuple[Mapping[str, CostPlan], Mapping[str, InputError]]:
    """Plans by name from their JSON, and why the others cannot be priced."""
    return priced({name: PlanSpec.model_validate_json(text) for name, text in texts})


def accelerator_seconds(ledger: Ledger) -> int:
    """Billed accelerator-seconds of all training pods, settled or not."""
    return sum(item.accelerator_seconds for item in _training(ledger))


def _training(ledger: Ledger) -> list[Amounts]:
    items: list[Amounts] = [*ledger.entries, *ledger.high_water]
    return [item for item in items if item.stage is Stage.TRAINING and item.role != EVALUATOR]


def so_far(ledger: Ledger, cluster: TrainingCluster, plan: Plan) -> int | None:
    """What the training so far would have cost on the plan, microdollars: its pods' accelerators, cores and memory, for as long as they
    were billed. None where the plan has no price for them.
    """
    asks, rented = cluster.workers.accelerators_per_worker > 0, plan.spec.rented
    cores = memory = Decimal(0)
    if rented is not None:
        cores, memory = Decimal(rented.cpu_hour_usd or 0), Decimal(rented.memory_gib_hour_usd or 0)
    has = plan.spec.accelerator is not None
    if asks != has and (asks or not (cores or memory)):
        return None
    if asks and rented is not None and rented.accelerator_hour_usd is None:
        return None
    hours = {HEAD: _core_hour(cluster.head, cores, memory), WORKER: _core_hour(cluster.workers, cores, memory)}
    beside = sum(amount_micro_usd(item.billed_seconds, hours.get(item.role, 0)) for item in _training(ledger))
    return amount_micro_usd(accelerator_seconds(ledger), micro_usd(plan.accelerator_hour_usd)) + beside


def _core_hour(size: PodResources, cores: Decimal, memory: Decimal) -> int:
    """Microdollars an hour of a pod's cores and memory, by dollars an hour of a core and a GiB."""
    return micro_usd(parse_quantity(size.cpu) * cores + parse_quantity(size.memory) / GIB * memory)


def _rent_of_job(turn: Turn) -> str:
    """The rented plan that an owned one is held against: the training's own, else the first compared."""
    names = [turn.spec.training.cluster.plan_ref.name, *turn.spec.compare_plans]
    found = (turn.seen.plans.get(name) for name in names)
    return next((plan.name for plan in found if plan and plan.spec.rented and plan.accelerator_hour_usd > 0), "")


def _row(turn: Turn, name: str, known: Known | None, rented: PlanResult | None) -> Comparison:
    plan = turn.seen.plans.get(name)
    if plan is None:
        reason = turn.seen.unread.get(PLANS_UNREAD) or f"ComputePlan `{name}` does not exist"
        return Comparison(plan=name, tenure="", usd_per_accelerator_hour="", cost_usd="", reason=reason)
    cost = so_far(turn.status.ledger, turn.spec.training.cluster, plan)
    return row(plan, cost, known, rented)


def row(plan: Plan, cost: int | None, known: Known | None, rented: PlanResult | None) -> Comparison:
    """One plan; `cost`: of the training so far, microdollars. What is not known is empty, and the reason says why."""
    shown = Comparison(
        plan=plan.name,
        tenure=plan.spec.tenure.value,
        usd_per_accelerator_hour=f"{plan.accelerator_hour_usd:.4f}" if plan.spec.accelerator else "",
        cost_usd="" if cost is None else format_usd(cost),
    )
    if not isinstance(known, PlanResult):
        return shown.model_copy(update={"reason": plain(known or "", 1024)})
    return shown.model_copy(
        update={
            "hours": quantiles(known.estimate.hours, 4),
            "whole_usd": quantiles(known.estimate.usd, 2),
            "avoidable_usd": quantiles(known.avoidable_usd, 2),
            "storage_usd": quantiles(known.estimate.storage_usd, 2) if known.estimate.storage_usd else None,
            "usd_per_1e21_flops": f"{known.usd_per_1e21_flops:.2f}",
            "usd_per_million_tokens": f"{known.usd_per_million_tokens:.6f}",
            "break_even_utilization": _break_even(known, rented),
        }
    )


def _break_even(own: PlanResult, rented: PlanResult | None) -> str:
    """Share of the available hours from which on owning is the cheaper; empty: never, or rented."""
    if own.plan.owned is None or rented is None:
        return ""
    share = break_even_utilization(own.plan.owned, rent_of(own, rented))
    return "" if share is None else f"{share:.4f}"


@lru_cache(maxsize=1024)
def break_even_utilization(owned: OwnedInputs, rent: Rent) -> float | None:
    """The verdict's; None where it is above 1 or never. It takes a millisecond, and is asked for every turn."""
    return verdict(owned, rent).utilization

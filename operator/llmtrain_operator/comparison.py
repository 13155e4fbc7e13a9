"""The training on other plans: so far at equal accelerator-seconds, and the whole of it at equal work."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from llmtrain.api.status import Amounts, Comparison, Ledger, Stage
from llmtrain.cost.comparison import PlanResult, compare, rent_of
from llmtrain.cost.errors import InputError
from llmtrain.cost.money import amount_micro_usd, format_usd, micro_usd
from llmtrain.cost.owned import OwnedInputs
from llmtrain.cost.plans import Plan as CostPlan
from llmtrain.cost.rent_or_own import Rent, verdict
from llmtrain.cost.work import RunSpec
from llmtrain.pricing.job import run_of
from llmtrain.pricing.measured import tokens_per_second, with_speed
from llmtrain.pricing.plans import plan_of
from llmtrain_operator.estimates import quantiles
from llmtrain_operator.names import EVALUATOR
from llmtrain_operator.pricing import Plan
from llmtrain_operator.turn import Inputs, Turn


def update_comparison(turn: Turn) -> None:
    """One row a plan of `spec.comparePlans` that exists, in that order."""
    plans, spec = turn.seen.plans, turn.spec
    seconds = accelerator_seconds(turn.status.ledger)
    whole = at_equal_work(turn.inputs, tokens_per_second(turn.status)) if spec.compare_plans else {}
    rented = whole.get(_rent_of_job(turn))
    turn.status.comparison = [
        row(plans[name], seconds, whole.get(name), rented) for name in spec.compare_plans if name in plans
    ]


@lru_cache(maxsize=1024)
def at_equal_work(inputs: Inputs, speed: float) -> Mapping[str, PlanResult]:
    """The whole training on each plan that could do it, by plan, as `llmtrain compare` has it. `speed`: tokens/s."""
    parsed = {plan: _cost_plan(plan, text) for plan, text in inputs.plans}
    known = {plan: found for plan, found in parsed.items() if found is not None}
    try:
        run = with_speed(run_of(inputs.job, JobSpec.model_validate_json(inputs.spec), known), speed)
    except InputError:
        return {}
    return {plan: result for plan, found in known.items() for result in _on(run, found)}


def _on(run: RunSpec, plan: CostPlan) -> Sequence[PlanResult]:
    """One plan at a time: pairs of owned and rented ones bring curves that a status has no room for.

    None where the run cannot be on it, such as one whose workers ask for accelerators that the plan does not have.
    """
    try:
        return compare(run, [plan]).results
    except InputError:
        return ()


@lru_cache(maxsize=1024)
def _cost_plan(name: str, text: str) -> CostPlan | None:
    """A plan by its JSON; None where its accelerator is not known."""
    try:
        return plan_of(name, PlanSpec.model_validate_json(text))
    except InputError:
        return None


def accelerator_seconds(ledger: Ledger) -> int:
    """Billed accelerator-seconds of all training pods, settled or not."""
    items: list[Amounts] = [*ledger.entries, *ledger.high_water]
    return sum(item.accelerator_seconds for item in items if item.stage is Stage.TRAINING and item.role != EVALUATOR)


def _rent_of_job(turn: Turn) -> str:
    """The rented plan that an owned one is held against: the training's own, else the first compared."""
    names = [turn.spec.training.cluster.plan_ref.name, *turn.spec.compare_plans]
    found = (turn.seen.plans.get(name) for name in names)
    return next((plan.name for plan in found if plan and plan.spec.rented and plan.accelerator_hour_usd > 0), "")


def row(plan: Plan, seconds: int, whole: PlanResult | None, rented: PlanResult | None) -> Comparison:
    """One plan. What needs to know the accelerator is empty where it is not known."""
    shown = Comparison(
        plan=plan.name,
        tenure=plan.spec.tenure.value,
        usd_per_accelerator_hour=f"{plan.accelerator_hour_usd:.4f}",
        cost_usd=format_usd(amount_micro_usd(seconds, micro_usd(plan.accelerator_hour_usd))),
    )
    if whole is None:
        return shown
    return shown.model_copy(
        update={
            "hours": quantiles(whole.estimate.hours, 4),
            "whole_usd": quantiles(whole.estimate.usd, 2),
            "avoidable_usd": quantiles(whole.avoidable_usd, 2),
            "usd_per_1e21_flops": f"{whole.usd_per_1e21_flops:.2f}",
            "usd_per_million_tokens": f"{whole.usd_per_million_tokens:.6f}",
            "break_even_utilization": _break_even(whole, rented),
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

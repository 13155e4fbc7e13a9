"""The training so far, had it run on another plan: equal accelerator-seconds, another price."""

from collections.abc import Mapping

from llmtrain.api.status import Amounts, Comparison, Ledger, Stage
from llmtrain.cost.money import amount_micro_usd, format_usd, micro_usd
from llmtrain_operator.pricing import Plan


def compare(ledger: Ledger, names: list[str], plans: Mapping[str, Plan]) -> list[Comparison]:
    """One row a plan that exists, in the order of `spec.comparePlans`."""
    seconds = accelerator_seconds(ledger)
    return [_row(plans[name], seconds) for name in names if name in plans]


def accelerator_seconds(ledger: Ledger) -> int:
    """Billed accelerator-seconds of all training pods, settled or not."""
    items: list[Amounts] = [*ledger.entries, *ledger.high_water]
    return sum(item.accelerator_seconds for item in items if item.stage is Stage.TRAINING)


def _row(plan: Plan, seconds: int) -> Comparison:
    return Comparison(
        plan=plan.name,
        tenure=plan.spec.tenure.value,
        usd_per_accelerator_hour=f"{plan.accelerator_hour_usd:.4f}",
        cost_usd=format_usd(amount_micro_usd(seconds, micro_usd(plan.accelerator_hour_usd))),
    )

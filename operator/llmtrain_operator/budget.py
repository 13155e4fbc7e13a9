"""The job's budget: what is spent, and whether the next minute still fits."""

from dataclasses import dataclass

from llmtrain.api.job import Budget, OnBreach
from llmtrain.api.status import Ledger
from llmtrain.cost.money import format_usd, micro_usd
from llmtrain_operator.manifests import GRACE_SECONDS


@dataclass(frozen=True)
class BudgetView:
    """Whether there is budget left, in a word and for people."""

    available: bool
    message: str
    stop: bool
    fail: bool


def view(budget: Budget | None, ledger: Ledger, burn_micro_per_hour: int) -> BudgetView:
    """The stop begins while what is left still pays for saving and taking down at the present burn rate."""
    if budget is None:
        return BudgetView(True, "no budget is set", stop=False, fail=False)
    limit = micro_usd(budget.limit_usd)
    reserve = burn_micro_per_hour * GRACE_SECONDS // 3600
    available = ledger.total_micro_usd + reserve < limit
    spent = f"{format_usd(ledger.total_micro_usd)} of {budget.limit_usd} USD spent"
    message = spent if available else f"{spent}; raise `spec.budget.limitUsd` to go on"
    stops = not available and budget.on_breach is not OnBreach.WARN
    return BudgetView(available, message, stops, stops and budget.on_breach is OnBreach.FAIL)

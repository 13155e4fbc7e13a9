"""Metrics of TrainingBudgets, from their statuses: gauges, since a period ends and a reservation is given back."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmtrain_operator.budget_state import BudgetState
from llmtrain_operator.job_metrics import STATUSES, usd
from llmtrain_operator.snapshots import Snapshots

BUDGET_LABELS = ["namespace", "budget"]


class BudgetCollector(Collector):
    """Limit, spent and reserved of the current period."""

    def __init__(self, snapshots: Snapshots) -> None:
        """Reads `snapshots` at every scrape."""
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        """Fresh families from the budgets last read."""
        budgets = self._snapshots.budgets
        yield from money_families(budgets)
        yield condition_family(budgets)


def money_families(budgets: Iterable[BudgetState]) -> Iterable[Metric]:
    """US dollars; spent and reserved never exceed the limit together, unless the limit was lowered."""
    limit = GaugeMetricFamily(
        "llmtrain_budget_limit_usd", "What a TrainingBudget allows in a period.", labels=[*BUDGET_LABELS, "period"]
    )
    spent = GaugeMetricFamily(
        "llmtrain_budget_spent_usd",
        "Spent of a TrainingBudget in this period, by jobs that live and jobs that are deleted.",
        labels=BUDGET_LABELS,
    )
    reserved = GaugeMetricFamily(
        "llmtrain_budget_reserved_usd", "Reserved by jobs beyond what they have spent.", labels=BUDGET_LABELS
    )
    for each in budgets:
        key = key_of(each)
        limit.add_metric([*key, each.spec.period.value], usd(each.limit))
        spent.add_metric(key, usd(each.status.spent))
        reserved.add_metric(key, usd(each.status.held - each.status.spent))
    return limit, spent, reserved


def condition_family(budgets: Iterable[BudgetState]) -> Metric:
    """WithinLimit and BelowWarning, as people read them in the status."""
    family = GaugeMetricFamily(
        "llmtrain_budget_condition",
        "1 where the TrainingBudget's condition has the status.",
        labels=[*BUDGET_LABELS, "condition", "status"],
    )
    for each in budgets:
        for condition in each.status.conditions:
            for value in STATUSES:
                family.add_metric([*key_of(each), condition.type, value], float(condition.status == value))
    return family


def key_of(budget: BudgetState) -> list[str]:
    """Values of the labels."""
    return [str(budget.raw["metadata"]["namespace"]), budget.name]

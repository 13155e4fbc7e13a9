"""Metrics of plans, and of namespaces beyond their jobs."""

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmtrain.api.plan import Commitment, PlanSpec
from llmtrain.api.planstatus import PlanStatus
from llmtrain.cost.errors import InputError
from llmtrain.cost.rent_or_own import Rent
from llmtrain.pricing.plans import plan_of
from llmtrain_operator.comparison import break_even_utilization
from llmtrain_operator.job_metrics import usd
from llmtrain_operator.snapshots import Snapshots

SPACE_LABELS = ["namespace", "stage", "role", "plan", "tenure"]


class PlanCollector(Collector):
    """What an hour costs."""

    def __init__(self, snapshots: Snapshots) -> None:
        """Reads `snapshots` at every scrape."""
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        """Fresh families from the plans and the pods alive."""
        yield self._accelerator_hours()
        yield self._pod_hours()
        yield self._break_even()

    def _accelerator_hours(self) -> Metric:
        family = GaugeMetricFamily(
            "llmtrain_plan_usd_per_accelerator_hour", "Price of an accelerator-hour.", labels=["plan", "tenure"]
        )
        for name, (spec, status) in self._snapshots.plans.items():
            if status.usd_per_accelerator_hour:
                family.add_metric([name, spec.tenure.value], float(status.usd_per_accelerator_hour))
        return family

    def _pod_hours(self) -> Metric:
        family = GaugeMetricFamily(
            "llmtrain_plan_usd_per_pod_hour", "Mean price of the pods alive.", labels=["plan", "tenure", "role"]
        )
        prices: dict[tuple[str, str, str], list[int]] = {}
        for _, found in self._snapshots.current():
            for plan, tenure, role, hour in found.pod_prices:
                prices.setdefault((plan, tenure, role), []).append(hour)
        for labels, hours in prices.items():
            family.add_metric(labels, usd(sum(hours)) / len(hours))
        return family

    def _break_even(self) -> Metric:
        family = GaugeMetricFamily(
            "llmtrain_plan_breakeven_utilization_ratio",
            "Use from which on the owned plan is cheaper than the cheapest rent on demand of its accelerator.",
            labels=["plan"],
        )
        for name, (spec, _) in self._snapshots.plans.items():
            share = _share(name, spec, self._snapshots.plans.values())
            if share is not None:
                family.add_metric([name], share)
        return family


def _share(name: str, spec: PlanSpec, plans: Iterable[tuple[PlanSpec, PlanStatus]]) -> float | None:
    if spec.owned is None or spec.accelerator is None:
        return None
    rents = [
        float(status.usd_per_accelerator_hour)
        for other, status in plans
        if other.rented and other.rented.commitment is Commitment.ON_DEMAND
        and other.accelerator and other.accelerator.product == spec.accelerator.product
        and status.usd_per_accelerator_hour
    ]  # fmt: skip
    try:
        owned = plan_of(name, spec).owned
    except InputError:
        return None
    return break_even_utilization(owned, Rent(min(rents))) if rents and owned else None


class NamespaceCollector(Collector):
    """What a namespace has spent: its ledger, and its jobs that are not in there."""

    def __init__(self, snapshots: Snapshots) -> None:
        """Reads `snapshots` at every scrape."""
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        """Series of the namespaces that are told."""
        cost = CounterMetricFamily(
            "llmtrain_namespace_cost_usd", "What the namespace's jobs cost, deleted ones too.", labels=SPACE_LABELS
        )
        seconds = CounterMetricFamily(
            "llmtrain_namespace_pod_seconds", "Pod-seconds of the namespace's jobs, deleted ones too.",
            labels=SPACE_LABELS,
        )  # fmt: skip
        carried = GaugeMetricFamily(
            "llmtrain_namespace_carried_over_usd",
            "Part of the namespace's cost that was taken over from where its tenants could have edited it: unverified.",
            labels=["namespace"],
        )
        period = GaugeMetricFamily(
            "llmtrain_namespace_period_cost_usd",
            "What the namespace's jobs cost in a calendar month (UTC), this one and the last, deleted ones too.",
            labels=["namespace", "month"],
        )
        for namespace, told in self._snapshots.namespaces().items():
            for labels, total in told.totals.items():
                cost.add_metric([namespace, *labels], usd(total.cost_micro_usd))
                seconds.add_metric([namespace, *labels], total.pod_seconds)
            if told.carried_micro_usd:
                carried.add_metric([namespace], usd(told.carried_micro_usd))
            for month, micro in told.months.items():
                period.add_metric([namespace, month], usd(micro))
        yield cost
        yield seconds
        yield carried
        yield period


class UnbookedCollector(Collector):
    """Jobs that were let go though their bill is in no ledger."""

    def __init__(self, count: Callable[[], int]) -> None:
        """Asks `count` at every scrape."""
        self._count = count

    def describe(self) -> Iterable[Metric]:
        """Its name, by which a scrape may ask for it alone."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """The counter."""
        yield CounterMetricFamily(
            "llmtrain_operator_unbooked_jobs",
            "Jobs that were let go though they could not be booked; the log has their bills.",
            value=self._count(),
        )

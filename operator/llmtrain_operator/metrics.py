"""What the operator exports: every scrape is built anew from the statuses last written, so nothing stale is served."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmtrain_operator.border import Kind, Rejections
from llmtrain_operator.budget_metrics import BudgetCollector
from llmtrain_operator.client import KubernetesCluster
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.job_metrics import JobCollector
from llmtrain_operator.plan_metrics import NamespaceCollector, PlanCollector, UnbookedCollector
from llmtrain_operator.snapshots import Snapshots


def register_all(registry: CollectorRegistry, snapshots: Snapshots, guard: Guard | None = None) -> None:
    """Register everything that is made from `snapshots`. `guard` is told of a collector that fails."""
    guard = guard or Guard(Loop.SCRAPE)
    for collector in (JobCollector, PlanCollector, NamespaceCollector, BudgetCollector):
        registry.register(GuardedCollector(collector(snapshots), guard))


def register_counts(
    registry: CollectorRegistry, cluster: KubernetesCluster, rejections: Rejections, unbooked: Callable[[], int]
) -> None:
    """Register what the operator's parts count themselves. `unbooked` gives the jobs let go that are in no ledger."""
    registry.register(RequestCollector(cluster))
    registry.register(RejectedCollector(rejections))
    registry.register(UnbookedCollector(unbooked))


class GuardedCollector(Collector):
    """A collector whose failure costs the scrape its own families and nothing else."""

    def __init__(self, inner: Collector, guard: Guard) -> None:
        """Collects what `inner` does."""
        self._inner, self._guard = inner, guard

    def collect(self) -> Iterable[Metric]:
        """Its families, all of them or, where it fails, those before."""
        families: list[Metric] = []
        with self._guard.each(type(self._inner).__name__):
            families.extend(self._inner.collect())
        return families


class RequestCollector(Collector):
    """Requests to the apiserver, from the client's own count."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        """Reads the client's counter at every scrape."""
        self._cluster = cluster

    def describe(self) -> Iterable[Metric]:
        """Its names, by which a scrape may ask for it alone."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """Requests by verb and code, and how many are under way."""
        family = CounterMetricFamily(
            "llmtrain_operator_api_requests", "Requests to the apiserver.", labels=["verb", "code"]
        )
        for (verb, code), count in list(self._cluster.requests.items()):
            family.add_metric([verb, code], count)
        yield family
        yield GaugeMetricFamily(
            "llmtrain_operator_api_requests_in_flight", "Requests under way.", value=self._cluster.in_flight
        )
        yield GaugeMetricFamily(
            "llmtrain_operator_api_requests_waiting", "Requests that wait for one to end.", value=self._cluster.waiting
        )


class RejectedCollector(Collector):
    """Input of others that was not used, from the border's own count."""

    def __init__(self, rejections: Rejections) -> None:
        """Reads the border's counter at every scrape."""
        self._rejections = rejections

    def describe(self) -> Iterable[Metric]:
        """Its name, by which a scrape may ask for it alone."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """Rejections by kind, zero where there were none."""
        family = CounterMetricFamily(
            "llmtrain_operator_rejected_input", "Input of others that was out of bounds and not used.", labels=["kind"]
        )
        for kind in Kind:
            family.add_metric([kind.value], self._rejections.counts[kind.value])
        yield family


class OperatorMetrics:
    """The operator's own metrics."""

    def __init__(self, registry: CollectorRegistry, now: Callable[[], float], version: str) -> None:
        """`now` gives Unix time in seconds."""
        self._now = now
        prefix = "llmtrain_operator_reconcile"
        self._turns = Counter(f"{prefix}_total", "Turns of the reconcile loop.", registry=registry)
        self._errors = Counter(f"{prefix}_errors_total", "Turns that ended in an error.", registry=registry)
        self._duration = Histogram(f"{prefix}_duration_seconds", "Duration of a turn.", registry=registry)
        self._wait = Histogram(
            f"{prefix}_wait_seconds", "From the wake-up of a job's loop to its turn.", registry=registry
        )
        self.queue_depth = Gauge(f"{prefix}_queue_depth", "Jobs woken whose turn has not begun.", registry=registry)
        self._crashes = Counter(
            "llmtrain_operator_loop_crashes_total",
            "Loops that met a bug: they were started anew, or went on with the next object.",
            ["loop"],
            registry=registry,
        )
        for loop in Loop:
            self._crashes.labels(loop.value)
        self.orphans = Gauge("llmtrain_operator_orphan_pods", "Pods of jobs that are gone.", registry=registry)
        self._success = Gauge(
            "llmtrain_operator_last_success_timestamp_seconds", "Last turn that succeeded.", registry=registry
        )
        build = Gauge("llmtrain_operator_build_info", "Version of the operator.", ["version"], registry=registry)
        build.labels(version).set(1)

    def observe_wait(self, seconds: float) -> None:
        """A job's turn begins this long after it was woken."""
        self._wait.observe(seconds)

    def count_crash(self, loop: str) -> None:
        """A loop met a bug; `loop` is a value of Loop."""
        self._crashes.labels(loop).inc()

    def observe_turn(self, seconds: float, ok: bool) -> None:
        """Count one turn."""
        self._turns.inc()
        self._duration.observe(seconds)
        if ok:
            self._success.set(self._now())
        else:
            self._errors.inc()

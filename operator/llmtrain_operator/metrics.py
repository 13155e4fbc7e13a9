"""What the operator exports: every scrape is built anew from the statuses last written, so nothing stale is served."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmtrain.api.status import Amounts, JobStatus
from llmtrain.cost.money import MICRO
from llmtrain_operator.client import KubernetesCluster

Key = tuple[str, str]
LEDGER_LABELS = ["namespace", "name", "stage", "role", "plan", "tenure"]
STATUSES = ("True", "False", "Unknown")


@dataclass
class Snapshots:
    """The status last written of every job."""

    statuses: dict[Key, JobStatus] = field(default_factory=dict)

    def put(self, key: Key, status: JobStatus) -> None:
        """Remember a job's status."""
        self.statuses[key] = status

    def drop(self, key: Key) -> None:
        """Forget a job that is gone; its total lives on in the namespace ledger."""
        self.statuses.pop(key, None)


@dataclass
class Total:
    """Settled and provisional amounts of one label set."""

    pod_seconds: int = 0
    accelerator_seconds: int = 0
    cost_micro_usd: int = 0

    def add(self, item: Amounts) -> None:
        """Add an entry or a provisional bill."""
        self.pod_seconds += item.pod_seconds
        self.accelerator_seconds += item.accelerator_seconds
        self.cost_micro_usd += item.cost_micro_usd


def totals(status: JobStatus) -> dict[tuple[str, str, str, str], Total]:
    """Amounts by (stage, role, plan, tenure)."""
    result: dict[tuple[str, str, str, str], Total] = {}
    items: list[Amounts] = [*status.ledger.entries, *status.ledger.high_water]
    for item in items:
        result.setdefault((item.stage.value, item.role, item.plan, item.tenure), Total()).add(item)
    return result


def usd(micro: int) -> float:
    """US dollars for the exposition, which knows floats alone; exact to the microdollar below 9 billion dollars."""
    return float(Decimal(micro) / MICRO)


class JobCollector(Collector):
    """The jobs' metrics, from the ledgers."""

    def __init__(self, snapshots: Snapshots) -> None:
        """Reads `snapshots` at every scrape."""
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        """Fresh families from the statuses."""
        jobs = list(self._snapshots.statuses.items())
        yield from _ledger_families(jobs)
        yield from _job_families(jobs)


def _ledger_families(jobs: list[tuple[Key, JobStatus]]) -> Iterable[Metric]:
    seconds = CounterMetricFamily(
        "llmtrain_job_pod_seconds", "Seconds that pods were billed for.", labels=LEDGER_LABELS
    )
    accelerators = CounterMetricFamily(
        "llmtrain_job_accelerator_seconds", "Billed accelerator-seconds.", labels=LEDGER_LABELS
    )
    cost = CounterMetricFamily("llmtrain_job_cost_usd", "What the job's pods cost.", labels=LEDGER_LABELS)
    for key, status in jobs:
        for labels, total in totals(status).items():
            seconds.add_metric([*key, *labels], total.pod_seconds)
            accelerators.add_metric([*key, *labels], total.accelerator_seconds)
            cost.add_metric([*key, *labels], usd(total.cost_micro_usd))
    return seconds, accelerators, cost


def _job_families(jobs: list[tuple[Key, JobStatus]]) -> Iterable[Metric]:
    names = ["namespace", "name"]
    info = GaugeMetricFamily("llmtrain_job_info", "The job's stage and state.", labels=[*names, "stage", "state"])
    conditions = GaugeMetricFamily(
        "llmtrain_job_condition", "1 where the condition has the status.", labels=[*names, "condition", "status"]
    )
    other = GaugeMetricFamily(
        "llmtrain_job_counterfactual_usd", "The training so far on another plan.", labels=[*names, "plan", "tenure"]
    )
    for key, status in jobs:
        info.add_metric([*key, status.stage, status.state], 1)
        for condition in status.conditions:
            for value in STATUSES:
                conditions.add_metric([*key, condition.type, value], float(condition.status == value))
        for row in status.comparison:
            other.add_metric([*key, row.plan, row.tenure], float(row.cost_usd))
    return info, conditions, other


class RequestCollector(Collector):
    """Requests to the apiserver, from the client's own count."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        """Reads the client's counter at every scrape."""
        self._cluster = cluster

    def collect(self) -> Iterable[Metric]:
        """One family."""
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
            "Job loops that ended in a bug and were started anew.",
            registry=registry,
        )
        self.orphans = Gauge("llmtrain_operator_orphan_pods", "Pods of jobs that are gone.", registry=registry)
        self._success = Gauge(
            "llmtrain_operator_last_success_timestamp_seconds", "Last turn that succeeded.", registry=registry
        )
        build = Gauge("llmtrain_operator_build_info", "Version of the operator.", ["version"], registry=registry)
        build.labels(version).set(1)

    def observe_wait(self, seconds: float) -> None:
        """A job's turn begins this long after it was woken."""
        self._wait.observe(seconds)

    def count_crash(self) -> None:
        """A job's loop ended in a bug."""
        self._crashes.inc()

    def observe_turn(self, seconds: float, ok: bool) -> None:
        """Count one turn."""
        self._turns.inc()
        self._duration.observe(seconds)
        if ok:
            self._success.set(self._now())
        else:
            self._errors.inc()

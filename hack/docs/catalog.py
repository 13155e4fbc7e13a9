"""Metrics as the code declares them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from llmtrain_operator import metrics
from llmtrain_operator.border import Rejections
from llmtrain_operator.client import KubernetesCluster
from llmtrain_operator.snapshots import Snapshots
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from llmtrain.observe.stages import FAMILIES


@dataclass(frozen=True, order=True)
class Entry:
    """One metric."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def operator() -> Iterator[Entry]:
    """Families of the operator's registry, as they are without any job."""
    registry = CollectorRegistry()
    metrics.OperatorMetrics(registry, lambda: 0.0, "0")
    metrics.register_all(registry, Snapshots(lambda: datetime.now(UTC)))
    metrics.register_counts(registry, KubernetesCluster(None), Rejections(), lambda: 0)
    for collector in list(registry._collector_to_names):
        for family in collector.collect():
            own = isinstance(collector, MetricWrapperBase)
            labels = collector._labelnames if own else getattr(family, "_labelnames", ())
            suffix = "_total" if family.type == "counter" else ""
            yield Entry(family.name + suffix, family.type, tuple(labels), family.documentation)


def stages() -> Iterator[Entry]:
    """What stage pods export."""
    for family in FAMILIES:
        yield Entry(family.name, family.kind, (), family.help)

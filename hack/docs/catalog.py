"""Metrics as the code declares them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
    from llmtrain_operator.metrics import JobCollector, OperatorMetrics, RequestCollector, Snapshots

    registry = CollectorRegistry()
    OperatorMetrics(registry, lambda: 0.0, "0")
    collectors: list[Any] = [JobCollector(Snapshots()), RequestCollector(NoRequests())]
    for metric in [*registry._collector_to_names, *collectors]:
        for family in metric.collect():
            labels = metric._labelnames if isinstance(metric, MetricWrapperBase) else getattr(family, "_labelnames", ())
            suffix = "_total" if family.type == "counter" else ""
            yield Entry(family.name + suffix, family.type, tuple(labels), family.documentation)


class NoRequests:
    """A client that has asked nothing."""

    requests: dict[tuple[str, str], int] = {}  # noqa: RUF012 - empty for ever


def stages() -> Iterator[Entry]:
    """What stage pods export."""
    for family in FAMILIES:
        yield Entry(family.name, family.kind, (), family.help)

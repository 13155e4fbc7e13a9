"""Rates and shares that follow from the ledger."""

from collections.abc import Iterable

from llmtrain.api.status import JobStatus, Stage
from llmtrain.ledger.goodput import goodput_of_billed_time, shown
from llmtrain_operator.podstate import PodState


def burn_micro_per_hour(pods: Iterable[PodState]) -> int:
    """Microdollars per hour of all pods that are being billed."""
    return sum(pod.price.microUsdPerHour for pod in pods if _scheduled(pod) and not pod.finished)


def accelerators_alive(pods: Iterable[PodState]) -> int:
    """Accelerators of pods that are being billed."""
    return sum(pod.accelerators for pod in pods if _scheduled(pod) and not pod.finished)


def goodput(status: JobStatus) -> str:
    """Goodput of billed time of training; empty before any of its pods is settled."""
    return shown(goodput_of_billed_time(status.ledger.entries, Stage.TRAINING), "")


def working(status: JobStatus, stage: Stage) -> int:
    """Settled pod-seconds of a stage in which its work moved forward."""
    return sum(entry.split.working for entry in status.ledger.entries if entry.stage is stage)


def _scheduled(pod: PodState) -> bool:
    return bool(pod.raw["spec"].get("nodeName"))

"""Rates and shares that follow from the ledger."""

from collections.abc import Iterable

from llmtrain.api.status import JobStatus, Stage
from llmtrain_operator.names import EVALUATOR
from llmtrain_operator.podstate import PodState


def burn_micro_per_hour(pods: Iterable[PodState]) -> int:
    """Microdollars per hour of all pods that are being billed."""
    return sum(pod.price.microUsdPerHour for pod in pods if _scheduled(pod) and not pod.finished)


def accelerators_alive(pods: Iterable[PodState]) -> int:
    """Accelerators of pods that are being billed."""
    return sum(pod.accelerators for pod in pods if _scheduled(pod) and not pod.finished)


def goodput(status: JobStatus) -> str:
    """Share of training's billed pod-seconds in which it worked; empty before anything was billed.

    Evaluators do not step the model; they are left out.
    """
    steps = [e for e in status.ledger.entries if e.stage is Stage.TRAINING and e.role != EVALUATOR]
    billed, worked = sum(e.billed_seconds for e in steps), sum(e.split.working for e in steps)
    return f"{worked / billed:.3f}" if billed and worked else ""


def working(status: JobStatus, stage: Stage) -> int:
    """Settled pod-seconds of a stage in which its work moved forward."""
    return sum(entry.split.working for entry in status.ledger.entries if entry.stage is stage)


def _scheduled(pod: PodState) -> bool:
    return bool(pod.raw["spec"].get("nodeName"))

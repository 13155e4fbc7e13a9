"""Lines of the ledger as tests want them."""

import csv
import io
from typing import Any

from llmtrain.cost.money import amount_micro_usd, billed_seconds
from llmtrain.ledger.lines import Line


def line(**more: Any) -> Line:
    """A settled line of two pods with an accelerator each."""
    given: dict[str, Any] = {
        "namespace": "team-a", "job": "docs-gpt", "uid": "0a1b2c3d-0000-4000-8000-000000000001", "stage": "Training",
        "role": "worker", "plan": "h100", "tenure": "Rented", "state": "Settled", "pods": 2, "pod_seconds": 1234,
        "billed_seconds": 1260, "accelerator_seconds": 1260, "cost_micro_usd": 1_396_500,
        "start": "2026-11-20T10:00:00Z", "end": "2026-11-20T10:10:00Z",
    }  # fmt: skip
    return Line(**given | more)


def of_pods(pods: list[tuple[int, int]], increment: int = 1, minimum: int = 0, accelerators: int = 0) -> Line:
    """What pods of so many seconds and microdollars an hour add up to."""
    billed = [billed_seconds(seconds, increment, minimum) for seconds, _ in pods]
    return line(
        pods=len(pods),
        pod_seconds=sum(seconds for seconds, _ in pods),
        billed_seconds=sum(billed),
        accelerator_seconds=sum(billed) * accelerators,
        cost_micro_usd=sum(amount_micro_usd(time, price) for time, (_, price) in zip(billed, pods, strict=True)),
    )


def rows(text: str) -> list[dict[str, str]]:
    """An export, read again."""
    return list(csv.DictReader(io.StringIO(text)))

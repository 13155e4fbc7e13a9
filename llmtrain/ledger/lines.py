"""Lines of the ledger: one a job, stage, role, plan and tenure; deleted jobs are one line a label set."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmtrain.api.status import Amounts, HighWater, JobStatus, LedgerEntry, Split, StageStatus

LEDGER_CONFIG_MAP, LEDGER_KEY = "llmtrain-ledger", "ledger.json"
SETTLED, PROVISIONAL = "Settled", "Provisional"


@dataclass(frozen=True)
class Line:
    """Amounts in integer seconds and microdollars. `job` is empty for jobs that are deleted; times as in the API."""

    namespace: str
    job: str
    uid: str
    stage: str
    role: str
    plan: str
    tenure: str
    state: str
    pods: int
    pod_seconds: int
    billed_seconds: int
    accelerator_seconds: int
    cost_micro_usd: int
    energy_joules: int = 0
    start: str = ""
    end: str = ""
    split: Split = field(default_factory=Split)


def lines_of(items: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Lines of LLMTrainingJobs and of the namespaces' ledgers, as the API has them; other objects are passed over."""
    found: list[Line] = []
    for item in items:
        if item.get("kind") == "LLMTrainingJob":
            found += job_lines(item)
        elif item.get("kind") == "ConfigMap" and item["metadata"]["name"] == LEDGER_CONFIG_MAP:
            found += deleted_lines(item)
    return sorted(found, key=lambda line: (line.namespace, line.job, line.start, line.stage, line.role, line.state))


def job_lines(job: Mapping[str, Any]) -> list[Line]:
    """Lines of one job; its pods that live still are provisional ones."""
    status = JobStatus.model_validate(job.get("status") or {})
    stages = {stage.name: stage for stage in status.stages}
    items: list[Amounts] = [*status.ledger.entries, *_grouped(status.ledger.high_water)]
    return [_line(job["metadata"], item, stages[item.stage]) for item in items if item.stage in stages]


def _grouped(marks: Iterable[HighWater]) -> list[HighWater]:
    """Marks of one label set added up."""
    sums: dict[tuple[str, str, str, str], HighWater] = {}
    for mark in marks:
        key = (mark.stage.value, mark.role, mark.plan, mark.tenure)
        total = sums.setdefault(key, mark.model_copy(update=dict.fromkeys(_AMOUNTS, 0)))
        for name in _AMOUNTS:
            setattr(total, name, getattr(total, name) + getattr(mark, name))
    return list(sums.values())


_AMOUNTS = ("pod_seconds", "billed_seconds", "accelerator_seconds", "cost_micro_usd")


def _line(metadata: Mapping[str, Any], item: Amounts, stage: StageStatus) -> Line:
    settled = item if isinstance(item, LedgerEntry) else None
    return Line(
        namespace=metadata["namespace"],
        job=metadata["name"],
        uid=metadata["uid"],
        stage=item.stage.value,
        role=item.role,
        plan=item.plan,
        tenure=item.tenure,
        state=SETTLED if settled else PROVISIONAL,
        pods=settled.pods if settled else 0,
        **{name: getattr(item, name) for name in _AMOUNTS},
        energy_joules=settled.energy_joules if settled else 0,
        start=stage.start_time or "",
        end=stage.completion_time or "",
        split=settled.split if settled else Split(),
    )


def deleted_lines(config_map: Mapping[str, Any]) -> list[Line]:
    """What a namespace's ledger has of jobs that are gone."""
    book = json.loads((config_map.get("data") or {}).get(LEDGER_KEY) or '{"totals": []}')
    return [
        Line(
            namespace=config_map["metadata"]["namespace"], job="", uid="", stage=row["stage"], role=row["role"],
            plan=row["plan"], tenure=row["tenure"], state=SETTLED, pods=row["pods"], pod_seconds=row["podSeconds"],
            billed_seconds=row["billedSeconds"], accelerator_seconds=row["acceleratorSeconds"],
            cost_micro_usd=row["costMicroUsd"],
        )
        for row in book["totals"]
    ]  # fmt: skip

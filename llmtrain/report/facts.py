"""What the page is made from: the job as the API has it and, where they can be read, its artifacts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmtrain.api.status import Amounts, JobStatus, Stage, StageStatus
from llmtrain.ladder.foretold import Foretold
from llmtrain.report.artifacts import Artifacts, Point


@dataclass(frozen=True)
class Facts:
    """Everything on the page. `missing` says what could not be read, and why."""

    name: str
    namespace: str
    uid: str
    spec: Mapping[str, Any]
    status: JobStatus
    losses: tuple[Point, ...] = ()
    documents: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    foretold: Foretold | None = None

    def stage(self, name: Stage) -> StageStatus | None:
        """The stage's status, if the job has it."""
        return next((stage for stage in self.status.stages if stage.name is name), None)

    @property
    def amounts(self) -> list[Amounts]:
        """Settled and provisional bills."""
        return [*self.status.ledger.entries, *self.status.ledger.high_water]


def facts_of(job: Mapping[str, Any], found: Artifacts | None, foretold: Foretold | None = None) -> Facts:
    """From a job object, what was read of its storage where that is at hand, and what its ladder has foretold."""
    meta, status = job["metadata"], JobStatus.model_validate(job.get("status") or {})
    missing = ("curves, curation's ledger and the record: the job's storage was not given (--artifacts)",)
    read = found or Artifacts(missing=missing)
    known = vars(read) | {"foretold": foretold}
    return Facts(meta["name"], meta.get("namespace", ""), meta.get("uid", ""), job["spec"], status, **known)

"""What the page is made from: the job as the API has it and, where they can be read, its artifacts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmtrain.api.status import Amounts, JobStatus, Stage, StageStatus
from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import Store, artifact_folder

RECORD = "record.json"


@dataclass(frozen=True)
class Point:
    """One step of training."""

    step: int
    tokens: int
    loss: float


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

    def stage(self, name: Stage) -> StageStatus | None:
        """The stage's status, if the job has it."""
        return next((stage for stage in self.status.stages if stage.name is name), None)

    @property
    def amounts(self) -> list[Amounts]:
        """Settled and provisional bills."""
        return [*self.status.ledger.entries, *self.status.ledger.high_water]


def facts_of(job: Mapping[str, Any], store: Store | None) -> Facts:
    """From a job object, and its storage where that is at hand."""
    meta, status = job["metadata"], JobStatus.model_validate(job.get("status") or {})
    plain = Facts(meta["name"], meta.get("namespace", ""), meta.get("uid", ""), job["spec"], status)
    if store is None:
        return _with(
            plain, missing=("curves, curation's ledger and the record: the job's storage was not given (--artifacts)",)
        )
    reader = _Reader(store, plain)
    return _with(
        plain,
        losses=reader.losses(),
        documents=fates_of(reader.json("curation", Stage.CURATION, "report.json")),
        counts=reader.counts(),
        record=reader.json("training", Stage.TRAINING, RECORD)
        if reader.has("training", Stage.TRAINING, RECORD)
        else {},
        missing=tuple(reader.missing),
    )


def fates_of(report: Mapping[str, Any]) -> dict[str, int]:
    """Documents by fate, with `read` for all of them, of curation's report."""
    ledger = report.get("ledger")
    if not ledger:
        return dict(report.get("documents", {}))
    fates = {name: fate["documents"] for name, fate in ledger["fates"].items()}
    return {"read": ledger["read"]["documents"], **fates}


def _with(facts: Facts, **changes: Any) -> Facts:
    return Facts(**{**facts.__dict__, **changes})


class _Reader:
    """Reads artifacts; what cannot be read is told, the rest of the page stands."""

    def __init__(self, store: Store, facts: Facts) -> None:
        self._store, self._facts, self.missing = store, facts, list[str]()

    def _key(self, stage: Stage) -> str:
        found = self._facts.stage(stage)
        return found.artifact if found else ""

    def json(self, kind: str, stage: Stage, name: str) -> dict[str, Any]:
        key = self._key(stage)
        if not key:
            return {}
        try:
            parsed = json.loads(self._store.read(f"{artifact_folder(kind, key)}/{name}"))
        except StorageError as error:
            self.missing.append(f"{kind} {name}: {error.message[:160]}")
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def has(self, kind: str, stage: Stage, name: str) -> bool:
        """Whether a file is there that not every artifact has; trouble with the storage is told by what follows."""
        try:
            return bool(self._key(stage)) and self._store.exists(f"{artifact_folder(kind, self._key(stage))}/{name}")
        except StorageError:
            return False

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json("curation", Stage.CURATION, "manifest.json").get("counts", {})
        return found

    def losses(self) -> tuple[Point, ...]:
        """All attempts' losses; a step that was done again counts as its last attempt had it."""
        key = self._key(Stage.TRAINING)
        if not key:
            return ()
        points: dict[int, Point] = {}
        try:
            for file in self._store.glob(f"{artifact_folder('training', key)}/loss/*.jsonl"):
                for line in self._store.read(file).decode().splitlines():
                    entry = json.loads(line)
                    points[entry["step"]] = Point(entry["step"], entry["tokens"], float(entry["loss"]))
        except StorageError as error:
            self.missing.append(f"losses: {error.message[:160]}")
        return tuple(points[step] for step in sorted(points))

"""What a run left in its storage that the page shows. Also the form in which a pod hands it over, `to_json`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from llmtrain.api.status import JobStatus, Stage
from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import Store, artifact_folder

RECORD = "record.json"
Keys = Mapping[Stage, str]
"""Artifact keys by stage."""


@dataclass(frozen=True)
class Point:
    """One step of training."""

    step: int
    tokens: int
    loss: float


@dataclass(frozen=True)
class Artifacts:
    """`missing` says what could not be read, and why."""

    losses: tuple[Point, ...] = ()
    documents: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def from_json(text: str) -> Artifacts:
    """The reverse. ValueError where it is something else."""
    body = json.loads(text)
    losses = tuple(Point(**point) for point in body["losses"])
    return Artifacts(losses, body["documents"], body["counts"], body["record"], tuple(body["missing"]))


def keys_of(status: JobStatus) -> Keys:
    """What a job has made or reused."""
    return {stage.name: stage.artifact for stage in status.stages if stage.artifact}


def read_artifacts(store: Store, keys: Keys) -> Artifacts:
    """Everything that is there; what cannot be read is told, the rest of the page stands."""
    reader = _Reader(store, keys)
    return Artifacts(
        losses=reader.losses(),
        documents=fates_of(reader.json("curation", Stage.CURATION, "report.json")),
        counts=reader.json("curation", Stage.CURATION, "manifest.json").get("counts", {}),
        record=reader.json("training", Stage.TRAINING, RECORD) if reader.has_record() else {},
        missing=tuple(reader.missing),
    )


def fates_of(report: Mapping[str, Any]) -> dict[str, int]:
    """Documents by fate, with `read` for all of them, of curation's report."""
    ledger = report.get("ledger")
    if not ledger:
        return dict(report.get("documents", {}))
    fates = {name: fate["documents"] for name, fate in ledger["fates"].items()}
    return {"read": ledger["read"]["documents"], **fates}


class _Reader:
    def __init__(self, store: Store, keys: Keys) -> None:
        self._store, self._keys, self.missing = store, keys, list[str]()

    def json(self, kind: str, stage: Stage, name: str) -> dict[str, Any]:
        if stage not in self._keys:
            return {}
        try:
            parsed = json.loads(self._store.read(f"{artifact_folder(kind, self._keys[stage])}/{name}"))
        except StorageError as error:
            self.missing.append(f"{kind} {name}: {error.message[:160]}")
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def has_record(self) -> bool:
        """Not every run has one; trouble with the storage is told by what follows."""
        key = self._keys.get(Stage.TRAINING)
        try:
            return key is not None and self._store.exists(f"{artifact_folder('training', key)}/{RECORD}")
        except StorageError:
            return False

    def losses(self) -> tuple[Point, ...]:
        """All attempts' losses; a step that was done again counts as its last attempt had it."""
        key = self._keys.get(Stage.TRAINING)
        if key is None:
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


def shortened(found: Artifacts, points: int) -> Artifacts:
    """With so many losses at most, evenly, the last one among them."""
    step = -(-len(found.losses) // points) or 1
    kept = found.losses[::-1][::step][::-1]
    return Artifacts(kept, found.documents, found.counts, found.record, found.missing)

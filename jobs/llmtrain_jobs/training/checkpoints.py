"""Checkpoints that exist only once they are complete: files first, then `COMPLETE` with sizes and hashes."""

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import torch

from llmtrain.storage.store import Store, artifact_folder

COMPLETE, STATE = "COMPLETE", "state.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint. `folder` is relative to the store."""

    folder: str
    step: int


class Checkpoints:
    """Checkpoints of one training artifact."""

    def __init__(self, store: Store, key: str, keep: int, attempt: int) -> None:
        """The newest `keep` are kept. The attempt is in the name, so that attempts never mix their files."""
        self._store, self._keep, self._attempt = store, keep, attempt
        self._base = f"{artifact_folder('training', key)}/checkpoints"

    def save(self, step: int, state: dict[str, Any]) -> Checkpoint:
        """Write one, then drop those that are not kept."""
        folder = f"{self._base}/step-{step:08d}-a{self._attempt}"
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data = buffer.getvalue()
        self._store.write(f"{folder}/{STATE}", data)
        files = {STATE: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}}
        self._store.write(f"{folder}/{COMPLETE}", json.dumps({"step": step, "files": files}).encode())
        self._prune(step)
        return Checkpoint(folder, step)

    def newest(self) -> Checkpoint | None:
        """The newest complete one, by step."""
        complete = [c for c in self._all() if self._store.exists(f"{c.folder}/{COMPLETE}")]
        return max(complete, key=lambda c: (c.step, c.folder), default=None)

    def load(self) -> tuple[Checkpoint, dict[str, Any]] | None:
        """The newest one whose files are what its `COMPLETE` says; a damaged one is passed over."""
        for checkpoint in sorted(self._all(), key=lambda c: (c.step, c.folder), reverse=True):
            if not self._store.exists(f"{checkpoint.folder}/{COMPLETE}"):
                continue
            expected = json.loads(self._store.read(f"{checkpoint.folder}/{COMPLETE}"))["files"][STATE]["sha256"]
            data = self._store.read(f"{checkpoint.folder}/{STATE}")
            if hashlib.sha256(data).hexdigest() == expected:
                return checkpoint, torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            print(f"checkpoint {checkpoint.folder} is damaged and passed over", flush=True)
        return None

    def _all(self) -> list[Checkpoint]:
        names = [name for name in self._store.folders(self._base) if name.startswith("step-")]
        return [Checkpoint(f"{self._base}/{name}", int(name.split("-")[1])) for name in names]

    def _prune(self, step: int) -> None:
        """Drop complete ones that are too many, and unfinished ones that no running attempt will finish."""
        ordered = sorted(self._all(), key=lambda c: (c.step, c.folder), reverse=True)
        complete = [c for c in ordered if self._store.exists(f"{c.folder}/{COMPLETE}")]
        kept = {c.folder for c in complete[: self._keep]}
        for checkpoint in ordered:
            if checkpoint.folder not in kept and checkpoint.step <= step:
                self._store.remove(checkpoint.folder)

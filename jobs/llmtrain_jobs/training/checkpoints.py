"""Checkpoints that exist only once they are complete: sharded files first, then `COMPLETE` with sizes and hashes.

The files are torch.distributed.checkpoint's, so that another number of processes or another mesh can read them. Which
checkpoints there are, only `COMPLETE` says: neither Ray nor the library's own metadata is asked.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.training.holds import held
from llmtrain_jobs.training.retention import Retention
from llmtrain_jobs.training.staging import Staging
from llmtrain_jobs.training.streams import Reader, StoreFiles, named_by_storage, reader, storage_error, writer

COMPLETE = "COMPLETE"
READ_BYTES = 16 * 2**20
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint. `folder` is relative to the store; `facts` is what the loop needs beside tensors."""

    folder: str
    step: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def checkpoints_folder(key: str) -> str:
    """Where the checkpoints of a training artifact are."""
    return f"{artifact_folder('training', key)}/checkpoints"


class Archive:
    """The checkpoints of one training artifact, as a single process sees them: found, checked, dropped."""

    def __init__(self, store: Store, key: str, retention: Retention, attempt: int) -> None:
        """The attempt is in the name, so that attempts never mix their files."""
        self.store, self._retention, self._attempt = store, retention, attempt
        self.base = checkpoints_folder(key)

    def folder(self, step: int) -> str:
        """A folder that no earlier save has used."""
        base = f"{self.base}/step-{step:08d}-a{self._attempt}"
        taken = {f"{self.base}/{name}" for name in self.store.folders(self.base)}
        return next(name for name in chain([base], (f"{base}-{n}" for n in count(1))) if name not in taken)

    def complete(self) -> list[Checkpoint]:
        """All complete ones, newest first."""
        found = [self._read(folder) for folder in self._folders()]
        return sorted((c for c in found if c), key=lambda c: (c.step, c.folder), reverse=True)

    def newest(self) -> Checkpoint | None:
        """The newest complete one, by step."""
        return next(iter(self.complete()), None)

    def latest(self) -> Checkpoint | None:
        """The complete one of the highest step; the others are not read."""
        folders = sorted(self._folders(), key=lambda folder: (_step(folder), folder), reverse=True)
        return next((found for folder in folders if (found := self._read(folder))), None)

    def seal(self, folder: str, facts: Mapping[str, Any], files: Mapping[str, Any]) -> Checkpoint:
        """Make a checkpoint exist."""
        content = {"step": facts["step"], "facts": dict(facts), "files": dict(sorted(files.items()))}
        self.store.write(f"{folder}/{COMPLETE}", json.dumps(content, sort_keys=True).encode())
        return Checkpoint(folder, int(facts["step"]), facts, files)

    def damage(self, checkpoint: Checkpoint, part: int = 0, parts: int = 1) -> str:
        """What is wrong with this part of a checkpoint's files; empty: nothing."""
        for name in sorted(checkpoint.files)[part::parts]:
            expected = checkpoint.files[name]
            try:
                size, digest = self._digest(f"{checkpoint.folder}/{name}")
            except StorageError as error:
                return error.message
            if (size, digest) != (expected["size"], expected["sha256"]):
                return f"`{checkpoint.folder}/{name}` is not what was written"
        return ""

    def sweep(self, newest_step: int, kept: Sequence[str] = ()) -> None:
        """Drop complete ones that are too many, and unfinished ones that nobody will finish.

        An unfinished one is an orphan once a newer one is complete, or where it belongs to an earlier attempt.
        One that an evaluator of this attempt reads stays.
        """
        complete = {c.folder: c for c in self.complete()}
        kept = [*kept, *held(self.store, self.base, self._attempt)]
        regular = {c.step for c in complete.values() if c.facts["regular"]}
        stay = self._retention.kept(regular, (c.step for c in complete.values()))
        for folder in self._folders():
            known = complete.get(folder)
            old = known.step not in stay if known else _step(folder) <= newest_step or not self._is_own(folder)
            if old and folder not in kept:
                self.drop(folder)

    def drop(self, folder: str) -> None:
        """Remove one; its mark goes first, so that half of it is never taken for a whole."""
        self.store.remove(f"{folder}/{COMPLETE}")
        self.store.remove(folder)

    def _is_own(self, folder: str) -> bool:
        return folder.rsplit("/", 1)[1].split("-")[2] == f"a{self._attempt}"

    def _folders(self) -> list[str]:
        return [f"{self.base}/{name}" for name in self.store.folders(self.base) if name.startswith("step-")]

    def _read(self, folder: str) -> Checkpoint | None:
        mark = f"{folder}/{COMPLETE}"
        if not self.store.exists(mark):
            return None
        try:
            raw = json.loads(self.store.read(mark))
        except StorageError:
            if self.store.exists(mark):
                raise
            return None  # it was swept between the two looks
        return Checkpoint(folder, int(raw["step"]), raw["facts"], raw["files"])

    def _digest(self, name: str) -> tuple[int, str]:
        found, size = hashlib.sha256(), 0
        with self.store.open(name) as stream:
            while block := stream.read(READ_BYTES):
                found.update(block)
                size += len(block)
        return size, found.hexdigest()


def _step(folder: str) -> int:
    return int(folder.rsplit("/", 1)[1].split("-")[1])


class Checkpoints:
    """Saving and loading by all processes together. `group` None: one process alone."""

    def __init__(self, archive: Archive, group: dist.ProcessGroup | None, in_background: bool,
                 on_complete: Callable[[Checkpoint, float], None] = lambda *_: None) -> None:  # fmt: skip
        """`group` is for checkpoints alone (gloo), because saves run beside the steps.

        `on_complete` is called on rank 0 with the checkpoint and the seconds that it took.
        """
        self.archive, self._group, self._in_background, self._on_complete = archive, group, in_background, on_complete
        self._staging = Staging()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.stall_seconds = 0.0
        """Of the last save: how long the steps stood still."""

    @property
    def rank(self) -> int:
        """Of this process."""
        return dist.get_rank(self._group) if self._group else 0

    @property
    def world(self) -> int:
        """Processes that save together."""
        return dist.get_world_size(self._group) if self._group else 1

    @property
    def failed(self) -> bool:
        """Whether a save in the background went wrong."""
        return self._error is not None

    @property
    def busy(self) -> bool:
        """Whether a save in the background is under way."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, tensors: Tensors, facts: Mapping[str, Any], now: bool = False) -> None:
        """Write a checkpoint; returns when it is copied, or with `now` when it is complete."""
        started = time.perf_counter()
        self.wait()
        folder = self.agree(self.archive.folder(int(facts["step"])) if self.rank == 0 else "")
        if now or not self._in_background:
            self._write(dict(tensors), dict(facts), folder, started)
            self._raise()
        else:
            staged = self._staging.copy(tensors)
            arguments = (staged, dict(facts), folder, started)
            self._thread = threading.Thread(target=self._write, args=arguments, daemon=True)
            self._thread.start()
        self.stall_seconds = time.perf_counter() - started

    def wait(self) -> None:
        """Until no save is under way; raises what went wrong in it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._raise()

    def load(self, checkpoint: Checkpoint, tensors: Tensors) -> None:
        """Read into these tensors, in place. Raises StorageError in every process where one of them cannot read its part."""
        state = dict(tensors)
        source = reader(self.archive.store, checkpoint.folder)
        problems = [problem for problem in self._gather(_problem_of(source)) if problem]
        if problems:
            raise problems[0]
        with named_by_storage():
            load(state, storage_reader=source, process_group=self._group, no_dist=self._group is None)

    def shapes(self, checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
        """Shapes of its tensors, by name."""
        listed = reader(self.archive.store, checkpoint.folder).read_metadata().state_dict_metadata
        return {name: tuple(entry.size) for name, entry in listed.items() if hasattr(entry, "size")}

    def sound(self, candidates: Sequence[Checkpoint]) -> Checkpoint | None:
        """The first of these whose files are what they were written as; all processes check a part and agree."""
        for checkpoint in candidates:
            found = self._gather(self.archive.damage(checkpoint, self.rank, self.world))
            problems = [problem for problem in found if problem]
            if not problems:
                return checkpoint
            if self.rank == 0:
                print(f"checkpoint of step {checkpoint.step} is passed over: {problems[0]}", flush=True)
        return None

    def _write(self, tensors: dict[str, Tensor], facts: dict[str, Any], folder: str, started: float) -> None:
        # Whatever goes wrong is raised by `wait` in the thread that trains: in this one it would be lost, and the save thought done.
        try:
            files = StoreFiles(self.archive.store)
            target = writer(files, folder)
            save(tensors, storage_writer=target, process_group=self._group, no_dist=self._group is None)
            self._seal(folder, facts, files, started)
        except (Exception, CheckpointException) as error:  # noqa: BLE001  -- torch's is a BaseException
            self._error = error

    def _seal(self, folder: str, facts: dict[str, Any], files: StoreFiles, started: float) -> None:
        written = {name.removeprefix(f"{folder}/"): entry for name, entry in files.written.items()}
        listed = {name: entry for part in self._gather(written) for name, entry in part.items()}
        problem: StorageError | None = None
        if self.rank == 0:
            try:
                checkpoint = self.archive.seal(folder, facts, listed)
                self._on_complete(checkpoint, time.perf_counter() - started)
                self.archive.sweep(checkpoint.step)
            except StorageError as error:
                problem = error
        problem = self.agree(problem)
        if problem is not None:
            raise problem

    def _raise(self) -> None:
        if self._error is None:
            return
        error, self._error = self._error, None
        raise storage_error(error) or error

    def agree(self, value: Any) -> Any:
        """Rank 0's value, everywhere."""
        if self._group is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, group=self._group, group_src=0)
        return box[0]

    def meet(self) -> None:
        """Wait for everybody."""
        self._gather(None)

    def _gather(self, value: Any) -> list[Any]:
        """Every process's value, everywhere."""
        if self._group is None:
            return [value]
        boxes: list[Any] = [None] * self.world
        dist.all_gather_object(boxes, value, group=self._group)
        return boxes


def _problem_of(source: Reader) -> StorageError | None:
    """Why the metadata cannot be read, or None."""
    try:
        source.read_metadata()
    except StorageError as error:
        return error
    return None


def plain(tensor: Tensor) -> Tensor:
    """The whole tensor on the CPU, of a distributed one too."""
    whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return torch.as_tensor(whole).detach().cpu()

"""torch.distributed.checkpoint over the job's storage: files go straight there and are hashed on their way."""

import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemBase, FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata

from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import Store, translated

# One process alone saves without a process group, on purpose.
warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)


class HashedStream(io.RawIOBase):
    """A stream that is only ever appended to; knows its size and SHA-256."""

    def __init__(self, stream: Any) -> None:
        """Around an open stream, which the caller closes."""
        self._stream, self._hash, self.size = stream, hashlib.sha256(), 0
        self.refused: tuple[OSError, int] | None = None
        """The first write that failed, and its size: torch's zip writer hides it behind an error of its own."""

    def write(self, data: Any) -> int:
        """Append."""
        view = memoryview(data).cast("B")
        try:
            self._stream.write(view)
        except OSError as error:
            self.refused = self.refused or (error, len(view))
            raise
        self._hash.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        """Bytes so far."""
        return self.size

    def flush(self) -> None:
        """Pass on."""
        self._stream.flush()

    def fileno(self) -> int:
        """Of a local file; raises UnsupportedOperation elsewhere."""
        number: int = self._stream.fileno()
        return number

    @property
    def sha256(self) -> str:
        """Of everything so far."""
        return self._hash.hexdigest()


class StoreFiles(FileSystemBase):
    """The few file operations that the checkpoint library asks for. `written` lists what this process wrote."""

    def __init__(self, store: Store) -> None:
        """Paths are names in the store."""
        self._store = store
        self.written: dict[str, dict[str, Any]] = {}

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[io.IOBase]:
        """Open for reading or for writing from the start."""
        name = str(path)
        with translated(name):
            if "r" in mode:
                with self._store.open(name) as stream:
                    yield cast(io.IOBase, stream)
                return
            with self._store.create(name) as stream:
                hashed = HashedStream(stream)
                try:
                    yield hashed
                except RuntimeError as error:
                    if hashed.refused is None:
                        raise
                    with translated(name, hashed.refused[1]):
                        raise hashed.refused[0] from error
            self.written[name] = {"size": hashed.size, "sha256": hashed.sha256}

    def concat_path(self, path: str | os.PathLike[str], suffix: str) -> str:
        """Join."""
        return f"{path}/{suffix}"

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        """Move a file."""
        self._store.move(str(path), str(new_path))
        self.written[str(new_path)] = self.written.pop(str(path))

    def init_path(self, path: str | os.PathLike[str]) -> str:
        """Names need nothing."""
        return str(path)

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        """Folders are made with their first file."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Any name will do."""
        return bool(str(checkpoint_id))

    def exists(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file is there."""
        return self._store.exists(str(path))

    def rm_file(self, path: str | os.PathLike[str]) -> None:
        """Remove a file."""
        self._store.remove(str(path))


def writer(files: StoreFiles, folder: str) -> FileSystemWriter:
    """The library's writer into a folder of the store."""
    made = FileSystemWriter(folder, single_file_per_rank=True, overwrite=True)
    made.fs = cast(Any, files)
    made.path = folder
    return made


class Reader(FileSystemReader):
    """The library's, which reads the metadata once: `load` tells of what goes wrong with them in an error's text alone."""

    _known: Metadata | None = None

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """As they were first read. Raises StorageError."""
        self._known = self._known or super().read_metadata(*args, **kwargs)
        return self._known


def reader(store: Store, folder: str) -> Reader:
    """The library's reader from a folder of the store."""
    made = Reader(folder)
    made.fs = cast(Any, StoreFiles(store))
    made.path = folder
    return made


@contextmanager
def named_by_storage() -> Iterator[None]:
    """Raise the storage problem behind what the checkpoint library raises, which is no Exception but a BaseException."""
    try:
        yield
    except CheckpointException as error:
        found = storage_error(error)
        if found is None:
            raise
        raise found from error


def storage_error(error: BaseException) -> StorageError | None:
    """The storage problem behind what the checkpoint library raised, from whichever process."""
    return next((one for one in behind(error) if isinstance(one, StorageError)), None)


def behind(error: BaseException) -> list[BaseException]:
    """An exception, what it was raised from, and what the checkpoint library gathered in it of all processes."""
    seen: list[BaseException] = [error]
    for known in seen:
        failures = known.failures.values() if isinstance(known, CheckpointException) else ()
        gathered = [value[0] if isinstance(value, tuple) else value for value in failures]
        seen += [one for one in (*gathered, known.__cause__, known.__context__) if one and one not in seen]
    return seen

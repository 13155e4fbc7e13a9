"""A job's storage: files below one root, artifacts that exist only once their manifest does.

S3 goes through pyarrow's file system, which Ray brings along: s3fs pins a botocore that excludes the urllib3 of the
Kubernetes client, so that the two cannot be installed side by side.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

import fsspec

from llmtrain.api.job import S3Storage, Storage
from llmtrain.storage.errors import StorageError, StorageProblem
from llmtrain.storage.patient import Patience, PatientFileSystem
from llmtrain.trust import authorities

MANIFEST = "manifest.json"
GLOB = re.compile(r"[*?[]")
"""Characters by which fsspec takes a path for a pattern."""
DENIALS = (
    "ACCESS_DENIED",
    "AccessDenied",
    "403",
    "InvalidAccessKey",
    "INVALID_ACCESS_KEY",
    "SIGNATURE_DOES_NOT_MATCH",
    # versitygw's own word for an access key that it does not know.
    "XAdminUserNotFound",
)
FULL = ("InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "No space left on device")
UNTRUSTED = ("curlCode: 60", "curlCode: 77", "SSL peer certificate")
"""The server's certificate has no known authority, or the file with the authorities is none."""
PATIENCE_SECONDS = 180.0
"""Longer than a server's restart, shorter than what its waiting pods would cost to be worth a new attempt."""


class Store:
    """Files below `root` of a file system. Names are relative to the root."""

    def __init__(self, filesystem: Any, root: str, external: Callable[[str], tuple[Any, str]]) -> None:
        """`external` resolves a URL outside the root to a file system and a path on it."""
        self._fs, self._root, self._external = filesystem, root.rstrip("/"), external

    def path(self, name: str) -> str:
        """Full path on the file system."""
        return f"{self._root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        with translated(name):
            return bool(self._fs.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        """A whole file."""
        with translated(name):
            data: bytes = self._fs.cat_file(self.path(name))
            return data

    def write(self, name: str, data: bytes) -> None:
        """A whole file, visible only once it is complete."""
        with translated(name, len(data)):
            if not self._is_local:
                self._fs.pipe_file(self.path(name), data)
                return
            self._fs.makedirs(self.path(name).rsplit("/", 1)[0], exist_ok=True)
            partial = self.path(name) + ".partial"
            with self._fs.open(partial, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.path(name))

    def download(self, name: str, local: Path) -> None:
        """Copy to a local file; a file on a mounted volume is linked, not copied."""
        with translated(name):
            local.parent.mkdir(parents=True, exist_ok=True)
            if self._is_local:
                local.unlink(missing_ok=True)
                local.symlink_to(self.path(name))
            else:
                self._fs.get_file(self.path(name), str(local))

    def folders(self, name: str) -> list[str]:
        """Names of the folders right below a folder; none where it does not exist."""
        with translated(name):
            if not self._fs.exists(self.path(name)):
                return []
            entries = self._fs.ls(self.path(name), detail=True)
            return sorted(e["name"].rstrip("/").rsplit("/", 1)[1] for e in entries if e["type"] == "directory")

    def remove(self, name: str) -> None:
        """Remove a folder with all that is in it."""
        with translated(name):
            if self._fs.exists(self.path(name)):
                self._fs.rm(self.path(name), recursive=True)

    def glob(self, pattern: str) -> list[str]:
        """Paths that match, sorted: relative to the root, or as URLs where the pattern is one."""
        return self._matching(pattern, withdirs=True)

    def files(self, pattern: str) -> list[str]:
        """Files, never folders, that match; the pattern as fsspec documents it.

        `*`, `?` and `[...]` stay within a folder, `**` is a whole component and any number of folders; braces mean
        themselves. ValueError: `**` within a component.
        """
        if GLOB.search(pattern):
            return self._matching(pattern, withdirs=False)
        with translated(pattern):
            filesystem, path = self._resolve(pattern)
            try:
                # fsspec's `exists` takes a broken connection for an absent file.
                return [pattern] if filesystem.info(path)["type"] == "file" else []
            except FileNotFoundError:
                return []

    def _matching(self, pattern: str, withdirs: bool) -> list[str]:
        with translated(pattern):
            scheme, url, _ = pattern.partition("://")
            filesystem, path = self._external(pattern) if url else (self._fs, f"{literally(self._root)}/{pattern}")
            try:
                # Left to itself fsspec passes over what it cannot list, and a broken connection looks like fewer files.
                found = sorted(str(entry) for entry in filesystem.glob(path, withdirs=withdirs, on_error="raise"))
            except FileNotFoundError:
                return []
            prefix = f"{scheme.lower()}://" if url else ""
            return [prefix + entry if url else entry.removeprefix(f"{self._root}/") for entry in found]

    def info(self, name: str) -> tuple[int, str]:
        """Size and a mark that changes with the content (modification time or ETag)."""
        with translated(name):
            filesystem, path = self._resolve(name)
            info = filesystem.info(path)
            return int(info["size"]), str(info.get("mtime") or info.get("ETag") or "")

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Read a file below the root or at a URL."""
        with translated(name):
            filesystem, path = self._resolve(name)
            with filesystem.open(path, "rb") as file:
                yield file

    @contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Write a file piece by piece. It may be seen unfinished: something written after it must say that it is whole."""
        with translated(name):
            if self._is_local:
                self._fs.makedirs(self.path(name).rsplit("/", 1)[0], exist_ok=True)
            with self._fs.open(self.path(name), "wb") as file:
                yield file

    def move(self, name: str, new_name: str) -> None:
        """Rename a file."""
        with translated(name):
            self._fs.mv(self.path(name), self.path(new_name))

    @property
    def _is_local(self) -> bool:
        return "file" in self._fs.protocol or "local" in self._fs.protocol

    def _resolve(self, name: str) -> tuple[Any, str]:
        return self._external(name) if "://" in name else (self._fs, self.path(name))

    # artifacts

    def manifest(self, kind: str, key: str) -> dict[str, Any] | None:
        """Manifest of a complete artifact; None: it does not exist, whatever files are there."""
        name = f"{artifact_folder(kind, key)}/{MANIFEST}"
        if not self.exists(name):
            return None
        manifest: dict[str, Any] = json.loads(self.read(name))
        return manifest

    def complete(
        self,
        kind: str,
        key: str,
        files: Mapping[str, Path | bytes],
        counts: dict[str, Any],
        written: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write an artifact's files, then its manifest. `written` are there already: name, size, sha256 of each."""
        folder, listed = artifact_folder(kind, key), [dict(file) for file in written]
        for name, content in sorted(files.items()):
            data = content if isinstance(content, bytes) else content.read_bytes()
            self.write(f"{folder}/{name}", data)
            listed.append({"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        self.seal(kind, key, listed, counts)

    def seal(self, kind: str, key: str, listed: list[dict[str, Any]], counts: dict[str, Any]) -> None:
        """Write the manifest of an artifact whose files are there: name, size and sha256 of each."""
        manifest = {"kind": kind, "key": key, "files": listed, "counts": counts}
        name = f"{artifact_folder(kind, key)}/{MANIFEST}"
        self.write(name, json.dumps(manifest, sort_keys=True, indent=1).encode())


def literally(path: str) -> str:
    """A glob that matches nothing but this path."""
    return GLOB.sub(r"[\g<0>]", path)


def artifact_folder(kind: str, key: str) -> str:
    """Where an artifact lies."""
    return f"artifacts/{kind}/{key}"


def open_store(
    storage: Storage, mount: str, credentials: dict[str, str], patience_seconds: float = PATIENCE_SECONDS
) -> Store:
    """The job's storage. `mount` is where a volume is mounted; `credentials` are the Secret's entries.

    A bucket that does not answer is tried again for `patience_seconds`.
    """
    s3 = storage.s3 or S3Storage(bucket="none")

    def external(url: str) -> tuple[Any, str]:
        scheme, _, path = url.partition("://")  # a `?` belongs to the glob, a `#` to the name
        if scheme.lower() == "file":
            return fsspec.filesystem("file"), "/" + path.partition("/")[2]
        if scheme.lower() == "s3":
            return patient(s3_filesystem(s3, credentials), patience_seconds), path
        raise StorageError(StorageProblem.BAD_INPUT, f"`{url}`: the scheme must be s3 or file")

    if storage.s3 is None:
        return Store(fsspec.filesystem("file"), mount, external)
    root = "/".join(part for part in (storage.s3.bucket, storage.s3.prefix.strip("/")) if part)
    with translated(f"spec.storage.s3.bucket `{storage.s3.bucket}`"):
        return Store(patient(s3_filesystem(storage.s3, credentials), patience_seconds), root, external)


def patient(filesystem: Any, seconds: float) -> PatientFileSystem:
    """The same file system, which waits for a server that is gone for a while."""
    return PatientFileSystem(filesystem, Patience(seconds, is_transient))


def is_transient(error: OSError) -> bool:
    """Neither the caller nor the credentials are at fault: it may pass by itself."""
    return _problem(error, "", 0)[0] is StorageProblem.UNAVAILABLE


def s3_filesystem(s3: S3Storage, credentials: dict[str, str]) -> Any:
    """pyarrow's S3 as an fsspec file system; path-style addresses, behind the endpoint's own path, where one is given."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import S3FileSystem

    endpoint = urlparse(s3.endpoint_url) if s3.endpoint_url else None
    options: dict[str, Any] = {"region": s3.region, "connect_timeout": 10, "request_timeout": 60}
    if endpoint:
        options |= {"endpoint_override": endpoint.netloc + endpoint.path.rstrip("/"), "scheme": endpoint.scheme}
    if file := authorities():
        options["tls_ca_file_path"] = file
    if credentials:
        options |= {
            "access_key": credentials.get("AWS_ACCESS_KEY_ID"),
            "secret_key": credentials.get("AWS_SECRET_ACCESS_KEY"),
        }
    return ArrowFSWrapper(S3FileSystem(**options))


@contextmanager
def translated(name: str, size: int = 0) -> Iterator[None]:
    """Turn what the file system raises into a problem that says what to change."""
    try:
        yield
    except OSError as error:
        raise StorageError(*_problem(error, name, size)) from error


def _problem(error: OSError, name: str, size: int) -> tuple[StorageProblem, str]:
    text = f"{type(error).__name__} {error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or any(word in text for word in FULL):
        return (
            StorageProblem.FULL,
            f"storage is full: `{name}` needs {size} bytes more; enlarge the volume or free space",
        )
    if any(word in text for word in UNTRUSTED):
        hint = "the server's certificate has no authority that is known here; name it in `spec.storage.s3.caBundle`"
        return StorageProblem.BAD_INPUT, f"`{name}`: {hint} ({text[:300]})"
    if isinstance(error, PermissionError) or any(word in text for word in DENIALS):
        hint = "access denied; check the credentials and permissions of `spec.storage`"
        return StorageProblem.DENIED, f"`{name}`: {hint} ({text[:300]})"
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return StorageProblem.BAD_INPUT, f"`{name}`: a file was expected, or a folder ({text[:300]})"
    if isinstance(error, FileNotFoundError) or "NO_SUCH_BUCKET" in text or "NoSuchBucket" in text:
        return StorageProblem.BAD_INPUT, f"`{name}` does not exist; check the bucket, path or claim ({text[:300]})"
    return StorageProblem.UNAVAILABLE, f"`{name}`: storage does not answer ({text[:300]})"

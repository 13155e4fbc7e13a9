"""Artifacts exist once their last file does; trouble with storage says what to change."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from llmtrain.api.job import Storage
from llmtrain.network import serve
from llmtrain.storage.errors import StorageError, StorageProblem
from llmtrain.storage.store import Store, open_store

VOLUME = Storage.model_validate({"persistentVolumeClaim": {"claimName": "llm"}})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(VOLUME, str(tmp_path), {})


def test_an_artifact_without_manifest_does_not_exist(store: Store) -> None:
    store.write("artifacts/curation/k/train/00000.bin", b"tokens")
    assert store.manifest("curation", "k") is None
    store.complete("curation", "k", {"train/00000.bin": b"tokens"}, {"tokens": 3})
    manifest = store.manifest("curation", "k")
    assert manifest is not None
    assert manifest["counts"] == {"tokens": 3}


def test_a_missing_file_is_the_users_to_mend(store: Store) -> None:
    with pytest.raises(StorageError, match="does not exist") as error:
        store.read("nowhere")
    assert error.value.problem is StorageProblem.BAD_INPUT


def test_a_full_volume_says_how_much_is_missing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="needs 5 bytes") as error:
        store.write("file", b"12345")
    assert error.value.problem is StorageProblem.FULL


def test_a_bucket_is_looked_for_behind_the_endpoints_own_path() -> None:
    """Hosted services have their S3 below a path; a client that drops it asks somebody else for the bucket."""
    asked: list[str] = []

    class Bucket(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server, key = serve(0, Bucket), {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "right"}
    for path in ("", "/", "/storage/v1/s3", "/storage/v1/s3/"):
        url = f"http://127.0.0.1:{server.server_port}{path}"
        storage = Storage.model_validate({"s3": {"bucket": "llm", "prefix": "job", "endpointUrl": url}})
        assert open_store(storage, "", key, patience_seconds=0).info("a")[0] == 3
    server.shutdown()
    server.server_close()
    assert list(dict.fromkeys(asked)) == ["/llm/job/a", "/storage/v1/s3/llm/job/a"]

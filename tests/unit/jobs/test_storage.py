"""Artifacts exist once their last file does; trouble with storage says what to change."""

from pathlib import Path

import pytest

from llmtrain.api.job import Storage
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

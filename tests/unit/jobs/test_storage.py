"""Artifacts and checkpoints exist once their last file does."""

from pathlib import Path

import pytest
import torch
from llmtrain_jobs.training.checkpoints import Checkpoints

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


def test_the_newest_undamaged_checkpoint_is_loaded(store: Store, tmp_path: Path) -> None:
    checkpoints = Checkpoints(store, "k", keep=2, attempt=1)
    for step in (10, 20):
        checkpoints.save(step, {"step": step, "weight": torch.ones(3)})
    newest = tmp_path / "artifacts/training/k/checkpoints/step-00000020-a1/state.pt"
    newest.write_bytes(newest.read_bytes()[:-10])
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded[1]["step"] == 10


def test_a_checkpoint_without_its_mark_is_not_loaded_and_old_ones_go(store: Store, tmp_path: Path) -> None:
    checkpoints = Checkpoints(store, "k", keep=1, attempt=2)
    store.write("artifacts/training/k/checkpoints/step-00000005-a1/state.pt", b"half")
    assert checkpoints.load() is None
    checkpoints.save(10, {"step": 10})
    checkpoints.save(20, {"step": 20})
    folder = tmp_path / "artifacts/training/k/checkpoints"
    assert [path.name for path in folder.iterdir()] == ["step-00000020-a2"]


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
